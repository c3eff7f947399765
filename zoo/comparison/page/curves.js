// Learning curves of all runs that are shown: a trace for each family, with gaps between its runs.

const CURVES = { val_top1: "validation top-1, %", train_loss: "training loss", val_loss: "validation loss" };
const FEW_POINTS = 600; // up to so many, points are marked

function prepareCurves() {
  byId("curves").replaceChildren(...Object.entries(CURVES).map(([key, title]) => figureFor(`curve-${key}`, title, null, "chart short")));
}

// One trace a family; null between two runs breaks the line.
function curveTraces(runs, key) {
  const traces = new Map();
  let points = 0;
  for (const run of runs) {
    const [x, y] = [run.curves[state.axis], run.curves[key]];
    if (!x || !y) continue;
    if (!traces.has(run.family)) traces.set(run.family, { x: [], y: [], text: [] });
    const trace = traces.get(run.family);
    const label = plain(run.label);
    x.forEach((value, index) => {
      trace.x.push(value);
      trace.y.push(y[index] === null ? null : key === "val_top1" ? 100 * y[index] : y[index]);
      trace.text.push(label);
    });
    trace.x.push(null);
    trace.y.push(null);
    trace.text.push("");
    points += x.length;
  }
  return [...traces].map(([family, { x, y, text }]) => {
    const { colour, symbol, dash } = styleOf(family);
    return {
      type: "scatter", mode: points <= FEW_POINTS ? "lines+markers" : "lines", meta: "curves", x, y, text, connectgaps: false,
      hovertemplate: `%{text}<br>${state.axis === "epoch" ? "epoch %{x}" : "after %{x:.0f} s"}: %{y:.4~g}<extra></extra>`,
      line: { color: colour, width: runs.length > 40 ? 1 : 1.6, dash }, marker: { color: colour, symbol, size: 5 }, opacity: runs.length > 40 ? 0.75 : 1,
    };
  });
}

async function drawCurves(rows) {
  const runs = rows.flatMap((row) => row.runs);
  const missing = runs.filter((run) => !run.curves[state.axis]).length;
  const notes = ["Colours and dashes are those of the families above."];
  if (missing) notes.push(`${counted(missing, "run")} ${missing === 1 ? "has" : "have"} recorded no ${state.axis === "epoch" ? "epoch yet" : "time"}.`);
  if (DATA.thinned) notes.push(`Of each run at most ${DATA.thinned} epochs are drawn, evenly chosen.`);
  byId("curves-note").textContent = notes.join(" ");
  const title = state.axis === "epoch" ? "epoch" : "wall time, s";
  await Promise.all(Object.entries(CURVES).map(([key, name]) => draw(`curve-${key}`, curveTraces(runs, key),
    layoutOf({ title, rangemode: "tozero" }, { title: name }), `${name} against ${title} of ${counted(runs.length, "run")}.`)));
}
