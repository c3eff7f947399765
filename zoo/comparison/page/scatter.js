// Accuracy against each cost: a point for every run, means with their spread, and the Pareto front of each data set.

const logAxis = (title) => ({ type: "log", title, dtick: "D2", exponentformat: "SI", minor: { showgrid: false } });
// Seconds are drawn as milliseconds.
const drawnCost = (cost, value) => (METRICS[cost].kind === "seconds" ? 1000 * value : value);

function hoverText(label, first, row) {
  const lines = [`<b>${plain(label, 70)}</b>`, `${plain(first.family)}, groups ${plain(first.groups)}, ${plain(first.dataset)}`];
  if (first.status !== "finished") lines.push(`${plain(first.status)} after ${counted(first.epochs, "epoch")}`);
  for (const key of new Set([accuracyKey(), state.metric, ...DATA.costs])) {
    if (row.figures[key]) lines.push(`${METRICS[key].title}: ${formatSpread(key, row)}`);
  }
  return lines.join("<br>");
}

const single = (run) => ({
  figures: Object.fromEntries(Object.entries(run.values).map(([key, value]) => [key, spreadOf([[run.seed, value]])])), invalid: {},
});

function markersOf(dataset, family, dimmed) {
  const { colour, symbol } = styleOf(family);
  const look = lookOf(dataset);
  const [size, opacity] = dimmed ? [0.6 * look.size, 0.45] : [look.size, 1];
  // Filled ones have an edge in the colour of the paper, so that those that overlap can be told apart, and are larger by it.
  const isFull = look.fill === 1;
  const line = { width: isFull ? 1 : 2, color: isFull ? cssColour("surface") : colour };
  const color = look.fill === 0.3 ? faded(colour, look.fill) : colour;
  return { color, symbol: symbol + look.symbol, size: isFull ? size + 2 : size, opacity, line };
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
      text: members.map((row) => hoverText(row.label, row.first, row)),
      marker: { ...markersOf(dataset, family, false), size: lookOf(dataset).size + 3 },
    };
  });
}

function membersOf(rows, dataset, cost) {
  const members = rows.filter((row) => row.first.dataset === dataset && row.fronts[cost]);
  return members.sort((a, b) => a.fronts[cost] - b.fronts[cost]);
}

function frontTraces(rows, datasets, cost) {
  const accuracy = accuracyKey();
  return datasets.flatMap((dataset) => {
    const members = membersOf(rows, dataset, cost);
    const x = members.map((row) => drawnCost(cost, row.figures[cost].mean));
    const y = members.map((row) => 100 * row.figures[accuracy].mean);
    const common = { type: "scatter", x, y, hoverinfo: "skip" };
    const ink = cssColour("ink");
    return [
      { ...common, mode: "lines", meta: "front", line: { color: cssColour("muted"), width: 1.5, shape: "hv", dash: lookOf(dataset).dash } },
      {
        ...common, mode: "markers", meta: "members", text: members.map((row) => String(row.fronts[cost])), cliponaxis: false,
        marker: { symbol: "circle-open", size: 18, color: ink, line: { width: 1.2 } },
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
        element("span", { class: "name clip" }, labelled(row.label, row.name, true)),
        element("span", { class: "at" }, `${format(accuracy, row.figures[accuracy].mean)}, ${format(cost, row.figures[cost].mean)}`)));
    }
  }
  list.replaceChildren(...items);
}

// A symbol on its front's line, both as they are in the charts.
function datasetSwatch(dataset) {
  const look = lookOf(dataset);
  const dashes = { solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4" }[look.dash];
  const line = svg("path", { d: "M0 7h40", stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": dashes });
  const backing = svg("circle", { cx: 20, cy: 7, r: 6, fill: cssColour("surface") });
  const symbol = svg("g", { transform: "translate(13 0)" }, ...swatch(cssColour("ink"), "circle", look).childNodes);
  return svg("svg", { viewBox: "-1 -1 42 16", class: "swatch line", role: "img", "aria-label": look.name }, line, backing, symbol);
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
    byId(`missing-${cost}`).textContent = without ? `${counted(without, DATA.noun)} without this figure or accuracy: not in the chart.` : "";
    const members = datasets.reduce((sum, dataset) => sum + membersOf(rows, dataset, cost).length, 0);
    const about = `${METRICS[accuracy].title} against ${METRICS[cost].title}: ${counted(drawn, DATA.noun)}, ${members} on the Pareto front, named below.`;
    const unit = METRICS[cost].kind === "seconds" ? ", ms" : "";
    const layout = layoutOf(logAxis(METRICS[cost].title + unit), { title: `${METRICS[accuracy].title}, %` });
    return draw(`scatter-${cost}`, traces, layout, about).then(() => numberMembers(byId(`scatter-${cost}`)));
  });
  const lead = [`Each point is a ${DATA.noun}; up and to the left is better.`,
    "The line is the Pareto front: nothing else is as accurate for less. Drag to enlarge a part, double-click to go back."];
  if (runs.length > rows.length) lead.push("Large points are means over seeds, with bars of one standard deviation, and make the front.");
  if (datasets.length > 1) {
    lead.push("Accuracies on different data sets cannot be compared, so each has a front and symbols of its own, as named below.");
  }
  byId("cost-lead").textContent = lead.join(" ");
  const families = FAMILIES.filter((family) => runs.some((run) => run.family === family));
  byId("datasets").hidden = datasets.length < 2;
  byId("datasets").replaceChildren(...datasets.map((dataset) => element("li", {}, datasetSwatch(dataset), isolated(dataset))));
  byId("legend").replaceChildren(...families.map((family) => element("li", {}, named(family))));
  await Promise.all(waiting);
}
