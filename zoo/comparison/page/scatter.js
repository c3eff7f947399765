// Accuracy against each cost: a point for every run, means with their spread, and the Pareto front of each data set.

const logAxis = (title) => ({ type: "log", title, dtick: "D2", exponentformat: "SI", minor: { showgrid: false } });
// Seconds are drawn as milliseconds.
const drawnCost = (cost, value) => (METRICS[cost].kind === "seconds" ? 1000 * value : value);

function hoverText(label, first, figures, extra = "") {
  const lines = [`<b>${plain(label, 70)}</b>`, `${plain(first.family)}, groups ${plain(first.groups)}, ${plain(first.dataset)}`];
  if (first.status !== "finished") lines.push(`${plain(first.status)} after ${counted(first.epochs, "epoch")}`);
  for (const key of new Set([accuracyKey(), state.metric, ...DATA.costs])) {
    if (figures[key]) lines.push(`${METRICS[key].title}: ${formatSpread(key, figures[key])}`);
  }
  return lines.join("<br>") + extra;
}

const single = (run) => Object.fromEntries(Object.entries(run.values).map(([key, value]) => [key, spreadOf([value])]));

function markersOf(dataset, family, dimmed) {
  const { colour, symbol } = styleOf(family);
  const fill = FILLS[DATASETS.indexOf(dataset) % FILLS.length];
  const [size, opacity] = dimmed ? [6, 0.45] : [10, 0.9];
  return { color: colour, symbol: symbol + fill, size, opacity, line: { width: 1.5, color: fill ? colour : cssColour("surface") } };
}

// Every run as a point; those that a mean stands for are small.
function runTraces(rows, cost) {
  const accuracy = accuracyKey();
  const traces = new Map();
  for (const row of rows) {
    for (const run of row.runs) {
      if (run.values[accuracy] === undefined || run.values[cost] === undefined) continue;
      const dimmed = row.runs.length > 1;
      const key = JSON.stringify([run.dataset, run.family, dimmed]);
      if (!traces.has(key)) {
        traces.set(key, {
          type: "scatter", mode: "markers", meta: "runs", x: [], y: [], text: [], hovertemplate: "%{text}<extra></extra>",
          marker: markersOf(run.dataset, run.family, dimmed),
        });
      }
      const trace = traces.get(key);
      trace.x.push(drawnCost(cost, run.values[cost]));
      trace.y.push(100 * run.values[accuracy]);
      trace.text.push(hoverText(run.label, run, single(run)));
    }
  }
  return [...traces.values()];
}

// Means over seeds, with bars of one standard deviation; one trace for a family on a data set.
function meanTraces(rows, cost) {
  const accuracy = accuracyKey();
  const groups = new Map();
  for (const row of rows) {
    if (row.runs.length === 1 || !row.figures[accuracy] || !row.figures[cost]) continue;
    const key = JSON.stringify([row.first.dataset, row.first.family]);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((members) => {
    const { dataset, family } = members[0].first;
    const deviations = (key, factor) => members.map((row) => factor * (row.figures[key].deviation ?? 0));
    const bars = (array) => ({
      type: "data", array, visible: array.some((each) => each > 0), color: styleOf(family).colour, thickness: 1.5, width: 4,
    });
    return {
      type: "scatter", mode: "markers", meta: "means", hovertemplate: "%{text}<extra></extra>",
      x: members.map((row) => drawnCost(cost, row.figures[cost].mean)),
      y: members.map((row) => 100 * row.figures[accuracy].mean),
      error_x: bars(deviations(cost, drawnCost(cost, 1))), error_y: bars(deviations(accuracy, 100)),
      text: members.map((row) => hoverText(row.label, row.first, row.figures)),
      marker: { ...markersOf(dataset, family, false), size: 11 },
    };
  });
}

function membersOf(rows, dataset, cost) {
  const members = rows.filter((row) => row.first.dataset === dataset && row.fronts[cost]);
  return members.sort((a, b) => a.fronts[cost] - b.fronts[cost]);
}

function frontTraces(rows, datasets, cost) {
  const accuracy = accuracyKey();
  return datasets.flatMap((dataset, place) => {
    const members = membersOf(rows, dataset, cost);
    const x = members.map((row) => drawnCost(cost, row.figures[cost].mean));
    const y = members.map((row) => 100 * row.figures[accuracy].mean);
    const common = { type: "scatter", x, y, hoverinfo: "skip" };
    const ink = cssColour("ink");
    return [
      { ...common, mode: "lines", meta: "front", line: { color: cssColour("muted"), width: 1.5, shape: "hv", dash: DASHES[place % DASHES.length] } },
      {
        ...common, mode: "markers+text", meta: "members", text: members.map((row) => String(row.fronts[cost])), textposition: "top left",
        textfont: { color: ink, size: 12 }, cliponaxis: false, marker: { symbol: "circle-open", size: 17, color: ink, line: { width: 1.3 } },
      },
    ];
  });
}

// The members by name, from the cheapest on, with the numbers that they have in the chart.
function nameMembers(list, rows, datasets, cost) {
  const accuracy = accuracyKey();
  const items = [];
  for (const dataset of datasets) {
    const members = membersOf(rows, dataset, cost);
    if (datasets.length > 1 && members.length) items.push(element("li", { class: "muted" }, element("span"), isolated(dataset)));
    for (const row of members) {
      items.push(element("li", { "data-member": row.label },
        element("span", { class: "place" }, String(row.fronts[cost])),
        element("span", { class: "name" }, isolated(row.label.length > 120 ? `${row.label.slice(0, 119)}…` : row.label, { title: row.label })),
        element("span", { class: "at" }, `${format(accuracy, row.figures[accuracy].mean)}, ${format(cost, row.figures[cost].mean)}`)));
    }
  }
  list.replaceChildren(...items);
}

function prepareScatters() {
  byId("scatters").replaceChildren(...DATA.fronts.map((cost) => {
    const list = element("ul", { class: "front", id: `front-${cost}`, "aria-label": `Pareto front against ${METRICS[cost].title}`, tabindex: "0" });
    const missing = element("p", { class: "muted small", id: `missing-${cost}` });
    const caption = element("figcaption", {}, element("p", { class: "muted small" }, "Pareto front, from the cheapest on:"), list, missing);
    return figureFor(`scatter-${cost}`, METRICS[cost].title, caption);
  }));
}

async function drawScatters(rows) {
  const accuracy = accuracyKey();
  const datasets = [...new Set(rows.map((row) => row.first.dataset))].sort();
  const runs = rows.flatMap((row) => row.runs);
  const waiting = DATA.fronts.map((cost) => {
    const traces = [...frontTraces(rows, datasets, cost), ...runTraces(rows, cost), ...meanTraces(rows, cost)];
    nameMembers(byId(`front-${cost}`), rows, datasets, cost);
    const drawn = runs.filter((run) => run.values[accuracy] !== undefined && run.values[cost] !== undefined).length;
    const without = runs.length - drawn;
    byId(`missing-${cost}`).textContent = without ? `${counted(without, "run")} without this figure or accuracy: not in the chart.` : "";
    const members = datasets.reduce((sum, dataset) => sum + membersOf(rows, dataset, cost).length, 0);
    const about = `${METRICS[accuracy].title} against ${METRICS[cost].title}: ${counted(drawn, "run")}, ${members} on the Pareto front, named below.`;
    const unit = METRICS[cost].kind === "seconds" ? ", ms" : "";
    return draw(`scatter-${cost}`, traces, layoutOf(logAxis(METRICS[cost].title + unit), { title: `${METRICS[accuracy].title}, %` }), about);
  });
  const lead = ["Each point is a run; up and to the left is better.",
    "The line is the Pareto front: nothing else is as accurate for less. Drag to enlarge a part, double-click to go back."];
  if (runs.length > rows.length) lead.push("Large points are means over seeds, with bars of one standard deviation, and make the front.");
  if (datasets.length > 1) {
    const fills = ["filled", "open", "filled with a dot", "open with a dot"];
    const looks = datasets.map((name) => `${name} ${fills[DATASETS.indexOf(name) % fills.length]}`).join(", ");
    lead.push(`Accuracies on different data sets cannot be compared, so each has a front of its own: ${looks}.`);
  }
  byId("cost-lead").textContent = lead.join(" ");
  const families = FAMILIES.filter((family) => runs.some((run) => run.family === family));
  byId("legend").replaceChildren(...families.map((family) => element("li", {}, named(family))));
  await Promise.all(waiting);
}
