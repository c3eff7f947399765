// Accuracy class by class and the confusion matrices of the chosen runs, side by side.

const FEW_CLASSES = 30; // more are shown on demand,
const MORE_CLASSES = 120; // but not more than these in a chart; the table has all
const MOST_MATRICES = 6;
const SHOWN_CONFUSIONS = 8;

// Cells of the matrix as [true, predicted, images], and images and hits of each class.
function countsOf(evaluation) {
  const number = DATA.classes[evaluation.classes].length;
  const [totals, hits, cells] = [new Array(number).fill(0), new Array(number).fill(0), []];
  for (let at = 0; at < evaluation.cells.length; at += 3) {
    const [truth, predicted, images] = evaluation.cells.slice(at, at + 3);
    totals[truth] += images;
    if (truth === predicted) hits[truth] += images;
    cells.push([truth, predicted, images]);
  }
  return { totals, hits, cells, accuracy: totals.map((total, index) => (total ? hits[index] / total : null)) };
}

// Places of the classes to show, in their own order: those that the runs get wrong most often where there are many.
function placesOf(counts) {
  const number = counts[0].totals.length;
  const all = Array.from({ length: number }, (_, index) => index);
  const most = state.manyClasses === "few" ? FEW_CLASSES : MORE_CLASSES;
  if (number <= most) return all;
  const wrong = (place) => counts.reduce((sum, each) => sum + (each.totals[place] ? 1 - each.accuracy[place] : 0), 0);
  return all.sort((a, b) => wrong(b) - wrong(a)).slice(0, most).sort((a, b) => a - b);
}

// By place and not by name: names need not differ, and one that looks like a number or a date would be taken for it.
const classTicks = (names) => ({ tickvals: names.map((_, index) => index), ticktext: names.map((name) => plain(name, 18)) });
const classAxis = (names, title) => ({
  title, tickmode: "array", showgrid: false,
  ...(names.length > FEW_CLASSES ? { tickvals: [] } : classTicks(names)),
});

async function drawPerClass(target, runs, counts, places, names) {
  const traces = runs.map((run, index) => {
    const { accuracy, hits, totals } = counts[index];
    const right = (place) => `${hits[place]} of ${totals[place]} images right`;
    return {
      type: "scatter", mode: "markers", meta: "classes", name: plain(run.label),
      x: places.map((place) => (accuracy[place] === null ? null : 100 * accuracy[place])),
      y: places.map((_, row) => row),
      text: places.map((place) => `<b>${plain(names[place])}</b><br>${plain(run.label)}<br>${right(place)}`),
      hovertemplate: "%{text}<extra></extra>",
      marker: { color: styleOfChosen(run).colour, symbol: styleOfChosen(run).symbol, size: 9, opacity: 0.9 },
    };
  });
  const shown = places.map((place) => names[place]);
  const yaxis = { ...classAxis(shown, ""), autorange: false, range: [shown.length - 0.5, -0.5], showgrid: true };
  Object.assign(yaxis, classTicks(shown)); // here there is space for all of them
  target.style.height = `${Math.max(220, 90 + 19 * shown.length)}px`;
  const sum = (values) => values.reduce((one, other) => one + other, 0);
  const mean = (each) => format("val_top1", sum(each.hits) / Math.max(1, sum(each.totals)));
  await draw(target, traces, layoutOf({ title: "images of the class that are right, %", side: "bottom" }, yaxis),
    `Accuracy of ${counted(shown.length, "class", "classes")}. All together: ${runs.map((run, index) => `${run.label} ${mean(counts[index])}`).join(", ")}.`);
}

async function drawMatrix(target, run, count, places, names) {
  const row = new Map(places.map((place, index) => [place, index]));
  const empty = () => places.map(() => places.map(() => 0));
  const [share, images] = [empty(), empty()];
  for (const [truth, predicted, number] of count.cells) {
    if (!row.has(truth) || !row.has(predicted)) continue;
    share[row.get(truth)][row.get(predicted)] = Math.sqrt(number / count.totals[truth]);
    images[row.get(truth)][row.get(predicted)] = number;
  }
  const shown = places.map((place) => names[place]);
  const label = shown.map((name) => plain(name));
  const few = shown.length <= 12;
  const trace = {
    type: "heatmap", meta: "confusion", z: share, zmin: 0, zmax: 1, showscale: false, xgap: few ? 1 : 0, ygap: few ? 1 : 0,
    colorscale: [[0, cssColour("paper")], [1, cssColour("heat")]],
    text: few ? images.map((line) => line.map((number) => (number ? String(number) : ""))) : undefined, texttemplate: few ? "%{text}" : undefined,
    hovertemplate: "%{customdata}<extra></extra>",
    customdata: images.map((line, truth) => line.map((number, predicted) => (
      `true: ${label[truth]}<br>predicted: ${label[predicted]}<br>${counted(number, "image")} of ${count.totals[places[truth]]}`
    ))),
  };
  const yaxis = { ...classAxis(shown, "true class"), autorange: "reversed" };
  await draw(target, [trace], layoutOf({ ...classAxis(shown, "predicted class"), tickangle: -45 }, yaxis),
    `Confusion matrix of ${run.label}; its largest confusions are listed below.`);
}

function confusionsOf(count, names) {
  const wrong = count.cells.filter(([truth, predicted]) => truth !== predicted);
  if (!wrong.length) return element("p", { class: "muted small" }, "No image is confused with another class.");
  const largest = wrong.sort((a, b) => b[2] - a[2]).slice(0, SHOWN_CONFUSIONS);
  return element("ol", { class: "confusions" }, ...largest.map(([truth, predicted, images]) => (
    element("li", {}, isolated(names[truth]), " taken for ", isolated(names[predicted]), `: ${counted(images, "image")}`)
  )));
}

function accuracyTable(runs, counts, names) {
  const body = element("div", { class: "scroll" });
  const fill = () => {
    if (body.childElementCount) return;
    const labels = runs.map((run) => element("th", { scope: "col", class: "name" }, labelled(run.label, run.name)));
    const head = element("tr", {}, element("th", { scope: "col" }, "Class"), ...labels);
    const lines = names.map((name, place) => {
      const cells = counts.map((count) => element("td", { class: "number" }, format("val_top1", count.accuracy[place])));
      return element("tr", {}, element("th", { scope: "row" }, isolated(name)), ...cells);
    });
    body.append(element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)));
  };
  return element("details", { toggle: fill }, element("summary", {}, "Accuracy of each class as a table"), body);
}

async function drawClasses() {
  const target = byId("classes");
  const runs = chosenRuns().filter((run) => run.evaluation);
  const groups = new Map(); // runs with the same classes can be drawn together
  for (const run of runs.slice(0, MOST_MATRICES)) {
    const key = `${run.dataset}/${run.evaluation.classes}/${run.evaluation.split}`;
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  const most = Math.max(0, ...runs.map((run) => DATA.classes[run.evaluation.classes].length));
  byId("many-field").hidden = most <= FEW_CLASSES;
  const worst = (number) => `the ${number} that are wrong most often`;
  const offered = { few: worst(FEW_CLASSES), more: most > MORE_CLASSES ? worst(MORE_CLASSES) : "all" };
  byId("many").replaceChildren(...Object.entries(offered).map(([value, text]) => element("option", { value }, text)));
  byId("many").value = state.manyClasses;
  const lead = [];
  if (!chosenRuns().length) lead.push("Choose a run or two.");
  else if (!runs.length) lead.push("The chosen runs have recorded no confusion matrix that is in this page.");
  else lead.push("Darker is a larger share of the true class, on a square-root scale, so that small errors are seen.");
  const without = chosenRuns().length - runs.length;
  if (runs.length && without) lead.push(`${counted(without, "chosen run")} without a confusion matrix in this page.`);
  if (runs.length > MOST_MATRICES) lead.push(`The first ${MOST_MATRICES} are drawn.`);
  const blocks = [element("p", { class: "muted" }, lead.join(" "))];
  const drawing = [];
  for (const members of groups.values()) {
    const names = DATA.classes[members[0].evaluation.classes];
    const counts = members.map((run) => countsOf(run.evaluation));
    const places = placesOf(counts);
    const dots = element("div", { class: "chart" });
    const key = element("ul", { class: "legend" }, ...members.map(namedChosen));
    const matrices = members.map((run, index) => {
      const chart = element("div", { class: "chart" });
      drawing.push(() => drawMatrix(chart, run, counts[index], places, names));
      const caption = element("figcaption", {}, confusionsOf(counts[index], names));
      return element("figure", { class: "matrix" }, element("h4", {}, labelled(run.label, run.name)), chart, caption);
    });
    drawing.push(() => drawPerClass(dots, members, counts, places, names));
    const all = counted(names.length, "class", "classes");
    const which = places.length < names.length ? `the ${places.length} of ${all} that are wrong most often` : all;
    blocks.push(element("div", { class: "group" },
      element("h3", {}, isolated(members[0].dataset), ", ", isolated(members[0].evaluation.split), `: ${which}`),
      key,
      element("div", { class: "tall", tabindex: "0", role: "region", "aria-label": "Accuracy of each class" }, dots),
      accuracyTable(members, counts, names),
      element("div", { class: "two" }, ...matrices)));
  }
  for (const old of target.querySelectorAll(".js-plotly-plot")) Plotly.purge(old);
  target.replaceChildren(...blocks);
  await Promise.all(drawing.map((each) => each()));
}
