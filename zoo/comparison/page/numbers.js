// Numbers beside the members of the Pareto fronts, placed so that none lies on another, on a symbol or outside.

const LETTER = { width: 7.5, height: 14 }; // pixels of a digit
const MARGIN_ABOVE = 10; // pixels above the chart that a number may reach into
const RING = 9; // radius of a member's mark
const REACHES = [21, 27, 36, 48, 62, 78, 96]; // pixels from a member to its number
// Directions that are tried: up and to the left first, where nothing lies that is not beaten by the front.
const ANGLES = [225, 250, 200, 270, 180, 290, 160, 315, 135, 0, 90, 45].map((degrees) => (degrees * Math.PI) / 180);

const overlap = (one, other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
const boxAt = (x, y, width, height) => ({ left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 });

// How much of a place is taken: by numbers worst, then by marks of members, then by other points.
function costOf(box, numbers, members, points) {
  const hits = (boxes) => boxes.filter((each) => overlap(box, each)).length;
  return 100 * hits(numbers) + 10 * hits(members) + hits(points);
}

function placeNumber(member, label, numbers, members, points, { width, height }) {
  const [wide, high] = [LETTER.width * label.length + 3, LETTER.height];
  let best = null;
  for (const reach of REACHES) {
    for (const angle of ANGLES) {
      const [x, y] = [member.x + reach * Math.cos(angle), member.y + reach * Math.sin(angle)];
      const box = boxAt(x, y, wide, high);
      if (box.left < 0 || box.right > width || box.top < -MARGIN_ABOVE || box.bottom > height) continue;
      const cost = costOf(box, numbers, members, points) + reach / 1000;
      if (!best || cost < best.cost) best = { cost, box, x, y };
    }
    if (best && best.cost < 1) break; // farther away there is nothing better
  }
  return best;
}

// Number what is in view; again after the reader has enlarged a part, or the window has another width.
async function numberMembers(chart) {
  const { xaxis, yaxis } = chart._fullLayout;
  const size = { width: xaxis._length, height: yaxis._length };
  const pixels = (trace) => [...(trace.x ?? [])].map((x, at) => ({ x: xaxis.d2p(x), y: yaxis.d2p(trace.y[at]), label: trace.text?.[at], data: [x, trace.y[at]] }));
  const isInside = ({ x, y }) => x >= 0 && x <= size.width && y >= 0 && y <= size.height;
  const of = (...kinds) => chart.data.filter((trace) => kinds.includes(trace.meta)).flatMap(pixels).filter(isInside);
  const members = of("members").sort((a, b) => a.x - b.x || b.y - a.y);
  const marks = members.map(({ x, y }) => boxAt(x, y, 2 * RING, 2 * RING));
  const points = of("runs", "means").map(({ x, y }) => boxAt(x, y, RING, RING));
  const [numbers, annotations] = [[], []];
  for (const member of members) {
    const place = placeNumber(member, member.label, numbers, marks, points, size);
    if (!place) continue; // a chart too small for any number
    numbers.push(place.box);
    annotations.push({
      text: member.label, x: xaxis.type === "log" ? Math.log10(member.data[0]) : member.data[0], y: member.data[1], ax: place.x - member.x, ay: place.y - member.y,
      showarrow: true, arrowhead: 0, arrowwidth: 1, arrowcolor: cssColour("muted"), standoff: RING - 1, borderpad: 0,
      font: { color: cssColour("ink"), size: 12 }, bgcolor: "rgba(0,0,0,0)",
    });
  }
  if (!chart.dataset.numbered) {
    chart.dataset.numbered = "true";
    chart.on("plotly_relayout", (changes) => { if (!Object.keys(changes).some((key) => key.startsWith("annotations"))) numberMembers(chart); });
  }
  if (members.length) await Plotly.relayout(chart, { annotations });
}
