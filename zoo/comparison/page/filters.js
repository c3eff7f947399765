// The controls, and their state in the address, so that a view can be sent to someone.

function prepareFilters() {
  const select = byId("metric");
  select.replaceChildren(...Object.entries(METRICS).map(([key, metric]) => element("option", { value: key }, metric.title)));
  byId("facets").replaceChildren(...Object.entries(FACETS).map(([facet, title]) => {
    const values = [...new Set(RUNS.map((run) => run[facet]))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const labels = values.map((value) => {
      const tick = element("input", { type: "checkbox", name: facet, value });
      const text = facet === "family" ? named(value) : isolated(value);
      return element("label", {}, tick, element("span", { class: "text" }, text), element("span", { class: "count", "data-count": value }));
    });
    return element("fieldset", { id: `facet-${facet}` }, element("legend", {}, title), element("div", { class: "options" }, ...labels));
  }));
}

function showState() {
  byId("metric").value = state.metric;
  byId("search").value = state.search;
  for (const radio of document.querySelectorAll('input[type="radio"]')) radio.checked = state[radio.name] === radio.value;
  for (const tick of document.querySelectorAll("#facets input")) tick.checked = state.ticked[tick.name].has(tick.value);
}

// How many runs a tick would show, under the other filters.
function countFacets() {
  for (const facet of Object.keys(FACETS)) {
    const counts = new Map();
    for (const run of RUNS) if (isShown(run, facet)) counts.set(run[facet], (counts.get(run[facet]) ?? 0) + 1);
    for (const each of byId(`facet-${facet}`).querySelectorAll("[data-count]")) each.textContent = String(counts.get(each.dataset.count) ?? 0);
  }
}

function writeAddress() {
  const words = new URLSearchParams();
  if (state.search) words.set("search", state.search);
  for (const [facet, values] of Object.entries(state.ticked)) for (const value of values) words.append(facet, value);
  for (const key of ["metric", "seeds", "axis"]) if (state[key] !== initial[key]) words.set(key, state[key]);
  const wanted = words.toString();
  // Browsers refuse too frequent changes of the history; the view itself has changed already.
  if (wanted !== location.hash.slice(1)) try { history.replaceState(null, "", `#${wanted}`); } catch { /* not in the address then */ }
}

function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  state.search = words.get("search") ?? "";
  for (const facet of Object.keys(FACETS)) {
    const known = new Set(RUNS.map((run) => run[facet]));
    state.ticked[facet] = new Set(words.getAll(facet).filter((value) => known.has(value)));
  }
  const allowed = { metric: Object.keys(METRICS), seeds: ["mean", "single"], axis: ["epoch", "seconds"] };
  for (const [key, values] of Object.entries(allowed)) state[key] = values.includes(words.get(key)) ? words.get(key) : initial[key];
}

function listenToFilters() {
  let later = null;
  byId("search").addEventListener("input", (event) => {
    state.search = event.target.value;
    clearTimeout(later);
    later = setTimeout(() => render(), 150);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("change", (event) => {
    const { name, value, checked, id } = event.target;
    if (id === "search") return;
    if (id === "metric") state.metric = value;
    else if (name === "seeds") state.seeds = value;
    else if (checked) state.ticked[name].add(value);
    else state.ticked[name].delete(value);
    render();
  });
  byId("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    Object.assign(state, { search: "", metric: initial.metric, seeds: initial.seeds, sort: { key: "rank", descending: false } });
    for (const values of Object.values(state.ticked)) values.clear();
    showState();
    render();
  });
  byId("axis").addEventListener("change", (event) => { state.axis = event.target.value; render(["curves"]); });
  byId("many").addEventListener("change", (event) => { state.manyClasses = event.target.value; render(["classes"]); });
  byId("add").addEventListener("click", () => choose(Number(byId("add-run").value)));
  byId("clear").addEventListener("click", () => { state.chosen = []; render(["chosen"]); });
  window.addEventListener("hashchange", () => { readAddress(); showState(); render(); });
}
