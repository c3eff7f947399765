// Puts the parts together: what is in view is drawn at once, the rest when it comes into view.

const PARTS = {
  scatters: { of: "scatters", draw: drawScatters },
  table: { of: "table", draw: drawTable },
  curves: { of: "curves", draw: drawCurves },
  chosen: { of: "chosen", draw: drawChosen },
  classes: { of: "classes", draw: drawClasses },
  difference: { of: "difference", draw: drawDifference },
};
// Changing these changes others: what is chosen shows in several places.
const FOLLOWS = { chosen: ["curves", "classes", "difference"] };
const initial = { metric: state.metric, seeds: state.seeds, axis: state.axis };
const inView = new Set(["scatters", "table", "chosen"]); // the table and the list of chosen runs cost nothing
const stale = new Set();
const [drawing, turns] = [new Map(), new Map()]; // part -> the drawing that goes on, and the last one asked for
let rows = [];

// Draw these parts anew, or all; those out of view only when they are scrolled to.
async function render(parts = Object.keys(PARTS)) {
  rows = rowsOf(RUNS.filter((run) => isShown(run)));
  for (const part of parts) for (const each of [part, ...(FOLLOWS[part] ?? [])]) stale.add(each);
  countFacets();
  const shown = rows.reduce((sum, row) => sum + row.runs.length, 0);
  byId("shown").textContent = `${shown} of ${counted(RUNS.length, DATA.noun)} shown${rows.length < shown ? `, in ${counted(rows.length, "row")}` : ""}`;
  writeAddress();
  await drawStale();
}

async function drawStale() {
  const waiting = [...stale].filter((part) => inView.has(part));
  waiting.forEach((part) => stale.delete(part));
  await Promise.all(waiting.map(drawPart));
}

// At once, or after the drawing of this part that still goes on; of several that wait, only the last is wanted.
function drawPart(part) {
  const turn = Symbol(part);
  const begin = () => (turns.get(part) === turn ? PARTS[part].draw(rows) : null);
  turns.set(part, turn);
  const done = Promise.resolve(drawing.has(part) ? drawing.get(part).then(begin) : begin());
  drawing.set(part, done);
  return done.finally(() => { if (drawing.get(part) === done) drawing.delete(part); });
}

function watchScrolling() {
  const parts = new Map(["curves", "classes", "difference"].map((part) => [byId(PARTS[part].of).closest("section"), part]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const part = parts.get(entry.target);
      if (entry.isIntersecting) inView.add(part);
      else inView.delete(part);
    }
    drawStale();
  }, { rootMargin: "300px" });
  for (const section of parts.keys()) observer.observe(section);
  window.addEventListener("beforeprint", () => { for (const part of parts.values()) inView.add(part); drawStale(); });
}

function watchTheme() {
  const button = byId("theme");
  const show = () => {
    button.textContent = isDark() ? "Light colours" : "Dark colours";
    button.setAttribute("aria-pressed", String(isDark()));
  };
  const redraw = () => {
    show();
    for (const label of document.querySelectorAll("#facet-family label")) {
      label.querySelector(".text").replaceChildren(named(label.querySelector("input").value));
    }
    render();
  };
  button.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; redraw(); });
  darkWanted.addEventListener("change", redraw);
  show();
}

function tellAbout() {
  byId("made").textContent = DATA.made;
  const count = (key) => new Set(RUNS.map((run) => run[key])).size;
  const datasets = DATASETS.length > 1 ? counted(DATASETS.length, "data set") : `data set ${DATASETS[0]}`;
  const parts = [counted(count("family"), "family", "families"), counted(DATA.rows.length, "configuration"), datasets];
  byId("summary").replaceChildren(isolated(parts.join(" · ")), ` · made ${DATA.made}`);
  byId("notes-section").hidden = !DATA.notes.length;
  byId("notes").replaceChildren(...DATA.notes.map((note) => element("li", {}, isolated(note))));
  const narrow = window.matchMedia("(max-width: 900px)");
  const fold = () => { byId("controls").open = !narrow.matches; }; // beside the charts they are always open
  narrow.addEventListener("change", fold);
  fold();
}

function hideTraining() {
  for (const id of ["curves", "classes"]) byId(id).closest("section").hidden = true;
  for (const id of ["seeds", "facet-status"]) byId(id).hidden = true;
  byId("side").textContent = "settings";
  byId("notes-title").textContent = "Notes";
}

prepareFilters();
if (!OF_TRAINING) hideTraining();
prepareScatters();
prepareCurves();
tellAbout();
readAddress();
showState();
listenToFilters();
watchTheme();
// The best of a data set and the next one stand side by side from the start.
rows = rowsOf(RUNS.filter((run) => isShown(run)));
const unevaluated = (row) => Number(!row.first.evaluation);
const best = rows.filter((row) => row.rank !== null).sort((a, b) => unevaluated(a) - unevaluated(b) || a.rank - b.rank);
state.chosen = best.filter((row) => row.first.dataset === best[0].first.dataset).slice(0, 2).map((row) => row.first.index);
render().then(() => {
  performance.mark("zoo:drawn");
  document.documentElement.dataset.drawn = "true";
  watchScrolling();
});
