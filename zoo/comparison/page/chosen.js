// Runs that the user has chosen, and what differs between their settings.

const MOST_DIFFERENCES = 12; // runs side by side

function choose(index, wanted = true) {
  state.chosen = state.chosen.filter((each) => each !== index);
  if (wanted) state.chosen.push(index);
  render(["chosen"]);
}

const chosenRuns = () => state.chosen.map((index) => RUNS[index]).filter((run) => isShown(run));

// The same in the learning curves and among the classes.
function styleOfChosen(run) {
  const place = chosenRuns().indexOf(run);
  return { colour: colourAt(place), symbol: SYMBOLS[place % SYMBOLS.length], dash: "solid" };
}

function namedChosen(run) {
  const { colour, symbol } = styleOfChosen(run);
  return element("li", {}, swatch(colour, symbol), labelled(run.label, run.name));
}

function drawChosen(rows) {
  const chosen = chosenRuns();
  byId("chosen").replaceChildren(...chosen.map((run) => element("li", {},
    element("span", { class: "text" }, labelled(run.label, run.name)),
    element("button", { type: "button", click: () => choose(run.index, false), "aria-label": `Remove ${run.label}` }, "×"))));
  const select = byId("add-run");
  const others = rows.flatMap((row) => row.runs).filter((run) => !state.chosen.includes(run.index));
  select.replaceChildren(...others.map((run) => element("option", { value: run.index, dir: "auto" }, Array.from(run.label).slice(0, 120).join(""))));
  byId("add").disabled = !others.length;
  byId("clear").disabled = !chosen.length;
  for (const tick of document.querySelectorAll("[data-choose]")) tick.checked = state.chosen.includes(Number(tick.dataset.choose));
}

function drawDifference() {
  const runs = chosenRuns().slice(0, MOST_DIFFERENCES);
  const target = byId("difference");
  if (runs.length < 2) {
    target.replaceChildren(element("p", { class: "muted" }, `Choose two ${DATA.noun}s or more.`));
    return;
  }
  const places = DATA.keys.map((_, place) => place).filter((place) => new Set(runs.map((run) => run.settings[place])).size > 1);
  if (!places.length) {
    target.replaceChildren(element("p", {}, "Their recorded settings are the same."));
    return;
  }
  const text = (run, place) => {
    const index = run.settings[place];
    return index === null ? element("span", { class: "muted" }, "not set") : isolated(DATA.texts[index]);
  };
  const names = runs.map((run) => element("th", { scope: "col", class: "name" }, labelled(run.label, run.name)));
  const head = element("tr", {}, element("th", { scope: "col" }, "Setting"), ...names);
  const lines = places.map((place) => {
    const values = runs.map((run) => element("td", { class: "setting" }, text(run, place)));
    return element("tr", {}, element("th", { scope: "row", class: "setting" }, isolated(DATA.keys[place])), ...values);
  });
  const more = chosenRuns().length > runs.length ? `; the first ${MOST_DIFFERENCES} chosen ${DATA.noun}s are shown` : "";
  const differ = places.length === 1 ? "differs" : "differ";
  const box = { class: "scroll", role: "region", "aria-labelledby": "difference-title", tabindex: "0" };
  target.replaceChildren(
    element("p", { class: "muted" }, `${counted(places.length, "setting")} of ${DATA.settings} recorded ones ${differ}${more}.`),
    element("div", box, element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines))),
  );
}
