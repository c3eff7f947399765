// Learning curves of all runs that are shown: a trace for each family, with gaps between its runs, and one for each
// chosen run, which stands out. The run under the pointer is drawn over the others in every chart.

const CURVES = { val_top1: "validation top-1, %", train_loss: "training loss", val_loss: "validation loss" };
const FEW_POINTS = 600; // up to so many, points are marked
const MANY_RUNS = 40;

function prepareCurves() {
  byId("curves").replaceChildren(...Object.entries(CURVES).map(([key, title]) => figureFor(`curve-${key}`, title, null, "chart short")));
}

// [x, y] of every epoch of a run in a chart; empty where it has recorded none.
function curveOf(run, key) {
  const [x, y] = [run.curves[state.axis], run.curves[key]];
  if (!x || !y) return [];
  return x.map((value, index) => [value, y[index] === null ? null : key === "val_top1" ? 100 * y[index] : y[index]]);
}

// A trace a family, in one muted colour where some run is chosen, then a trace a chosen run; null breaks the line.
function curveTraces(runs, key) {
  const chosen = chosenRuns();
  const traces = new Map();
  let points = 0;
  for (const run of [...runs.filter((each) => !chosen.includes(each)), ...chosen]) {
    const curve = curveOf(run, key);
    if (!curve.length) continue;
    const isChosen = chosen.includes(run);
    const name = isChosen ? `run ${run.index}` : `family ${run.family}`;
    const style = isChosen ? styleOfChosen(run) : styleOf(run.family);
    if (!traces.has(name)) traces.set(name, { style, isChosen, x: [], y: [], text: [], customdata: [] });
    const trace = traces.get(name);
    for (const [x, y] of [...curve, [null, null]]) {
      trace.x.push(x);
      trace.y.push(y);
      trace.text.push(x === null ? "" : plain(run.label));
      trace.customdata.push(run.index);
    }
    points += curve.length;
  }
  return [...traces.values()].map(({ style, isChosen, x, y, text, customdata }) => {
    const isMuted = !isChosen && chosen.length > 0;
    const color = isMuted ? cssColour("muted") : style.colour;
    const width = isChosen ? 3 : isMuted || runs.length > MANY_RUNS ? 1 : 1.6;
    return {
      type: "scatter", mode: points <= FEW_POINTS && !isMuted ? "lines+markers" : "lines", meta: "curves", x, y, text, customdata, connectgaps: false,
      hovertemplate: `%{text}<br>${state.axis === "epoch" ? "epoch %{x}" : "after %{x:.0f} s"}: %{y:.4~g}<extra></extra>`,
      line: { color, width, dash: style.dash }, marker: { color, symbol: style.symbol, size: isChosen ? 8 : 5 },
      opacity: isMuted ? 0.55 : runs.length > MANY_RUNS && !isChosen ? 0.75 : 1,
    };
  });
}

// Draw one run over all others, in every chart; null takes it away. A shape, since new traces would be costly.
function highlight(index) {
  for (const key of Object.keys(CURVES)) {
    const curve = index === null ? [] : curveOf(RUNS[index], key).filter(([, y]) => y !== null);
    const path = curve.map(([x, y], place) => `${place ? "L" : "M"}${x},${y}`).join(" ");
    const line = { color: cssColour("ink"), width: 4 };
    const chart = byId(`curve-${key}`);
    chart.dataset.highlighted = curve.length ? RUNS[index].label : "";
    if (chart._fullLayout) Plotly.relayout(chart, { shapes: curve.length > 1 ? [{ type: "path", path, line }] : [] });
  }
}

function listenToCurves(chart) {
  if (chart.dataset.listens) return;
  chart.dataset.listens = "true";
  const runAt = (event) => event.points[0]?.customdata ?? null;
  chart.on("plotly_hover", (event) => highlight(runAt(event)));
  chart.on("plotly_unhover", () => highlight(null));
  chart.on("plotly_click", (event) => { const index = runAt(event); if (index !== null) choose(index, !state.chosen.includes(index)); });
}

async function drawCurves(rows) {
  const runs = rows.flatMap((row) => row.runs);
  const missing = runs.filter((run) => !run.curves[state.axis]).length;
  const chosen = chosenRuns();
  const notes = [chosen.length ? "Chosen runs stand out." : "Colours and dashes are those of the families above.",
    "Point at a curve to see it in all three charts; a click chooses its run."];
  if (missing) notes.push(`${counted(missing, "run")} ${missing === 1 ? "has" : "have"} recorded no ${state.axis === "epoch" ? "epoch yet" : "time"}.`);
  if (DATA.thinned) notes.push(`Of each run at most ${DATA.thinned} epochs are drawn, evenly chosen.`);
  byId("curves-note").textContent = notes.join(" ");
  byId("curves-legend").replaceChildren(...chosen.map(namedChosen));
  const title = state.axis === "epoch" ? "epoch" : "wall time, s";
  await Promise.all(Object.entries(CURVES).map(([key, name]) => draw(`curve-${key}`, curveTraces(runs, key),
    layoutOf({ title, rangemode: "tozero" }, { title: name }), `${name} against ${title} of ${counted(runs.length, "run")}.`)));
  for (const key of Object.keys(CURVES)) listenToCurves(byId(`curve-${key}`));
}
