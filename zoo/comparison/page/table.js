// The ranked table: sorted by the buttons in its header, a body for each data set.

function columnsOf() {
  const figures = (key, spread = false) => ({
    key, title: METRICS[key].short, hint: METRICS[key].title, number: true, descendingFirst: METRICS[key].higher,
    value: (row) => row.figures[key]?.mean ?? null,
    cell: (row) => (spread ? spreadCell(key, row) : row.figures[key] || !row.invalid[key] ? format(key, row.figures[key]?.mean) : "invalid"),
  });
  const words = (key, title, cell) => ({ key, title, value: (row) => row.first[key], cell });
  const costs = DATA.costs.filter((key) => key !== state.metric && (OF_TRAINING || RUNS.some((run) => run.values[key] !== undefined)));
  const columns = [
    { key: "rank", title: "Rank", number: true, value: (row) => row.rank, cell: (row) => (row.rank === null ? "–" : String(row.rank)) },
    { key: "label", title: "Name", name: true, value: (row) => row.label, cell: nameCell },
    words("family", "Family", (row) => named(row.first.family)),
    { ...words("groups", "Groups", (row) => isolated(row.first.groups)), number: true },
    words("status", "Status", (row) => row.first.status),
    figures(state.metric, true),
    ...costs.map((key) => figures(key)),
    { key: "epochs", title: "Epochs", number: true, value: (row) => row.first.epochs, cell: epochsCell },
  ];
  return columns.filter(({ key }) => OF_TRAINING || !["status", "epochs"].includes(key));
}

// The figure, and below it how many seeds and runs it is of.
function spreadCell(key, row) {
  const [figure, counts] = spreadParts(key, row);
  const wrong = figure === "invalid" ? { class: "error", title: "The last value is NaN, infinite or out of its range." } : {};
  return element("div", {}, element("div", wrong, figure), counts ? element("div", { class: "muted small" }, counts) : null);
}

function nameCell(row) {
  const title = `${row.label}\n${row.runs.map((run) => run.path).join("\n")}`;
  const made = [element("div", { class: "clip", title }, labelled(row.label, row.name, true))];
  const about = (cost) => ({ class: "badge", title: `on the Pareto front against ${METRICS[cost].title}` });
  const members = DATA.fronts.filter((cost) => row.fronts[cost]);
  const badges = members.map((cost) => element("span", about(cost), METRICS[cost].short));
  if (badges.length) made.push(element("div", { class: "muted small" }, "Pareto: ", ...badges));
  if (row.first.error) made.push(element("div", { class: "error clip" }, isolated(row.first.error)));
  return element("div", {}, ...made);
}

function epochsCell(row) {
  const { epochs, planned } = row.first;
  return planned && planned > epochs ? `${epochs}/${planned}` : String(epochs);
}

function inOrder(rows, column) {
  const sign = state.sort.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [column.value(a), column.value(b)];
    if (left === null || right === null) return (left === null) - (right === null); // unknown ones last, either way
    const order = typeof left === "string" ? left.localeCompare(right, "en", { numeric: true }) : left - right;
    return sign * order || (a.rank ?? Infinity) - (b.rank ?? Infinity) || 0;
  });
}

function headerOf(columns) {
  const cells = columns.map((column) => {
    const sorted = state.sort.key === column.key;
    const click = () => {
      state.sort = { key: column.key, descending: sorted ? !state.sort.descending : Boolean(column.descendingFirst) };
      render(["table"]);
      byId("table").querySelector(`[data-sort="${column.key}"]`).focus();
    };
    const order = state.sort.descending ? "descending" : "ascending";
    return element("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": sorted ? order : "none" },
      element("button", { type: "button", click, "data-sort": column.key, title: column.hint ?? null }, column.title));
  });
  return element("thead", {}, element("tr", {}, element("th", { scope: "col" }, element("span", { class: "hidden-text" }, "Choose")), ...cells));
}

function lineOf(row, columns) {
  const change = (event) => choose(row.first.index, event.target.checked);
  const tick = element("input", { type: "checkbox", change, "aria-label": `Choose ${row.first.label}`, "data-choose": row.first.index });
  tick.checked = state.chosen.includes(row.first.index);
  const cells = columns.map((column) => {
    const kind = [column.number && "number", column.name && "name"].filter(Boolean).join(" ");
    return element(column.name ? "th" : "td", { class: kind || null, scope: column.name ? "row" : null }, column.cell(row));
  });
  return element("tr", { class: Object.keys(row.fronts).length ? "member" : null, "data-row": row.label }, element("td", {}, tick), ...cells);
}

// Columns of words that need no space, for they say the same of every row.
function alikeIn(rows) {
  const statuses = new Set(rows.map((row) => row.first.status));
  return OF_TRAINING && rows.length > 1 && statuses.size === 1 ? [{ key: "status", title: "Status", text: [...statuses][0] }] : [];
}

function drawTable(rows) {
  const alike = alikeIn(rows);
  const columns = columnsOf().filter(({ key }) => !alike.some((each) => each.key === key));
  const column = columns.find((each) => each.key === state.sort.key) ?? columns[0];
  const datasets = [...new Set(rows.map((row) => row.first.dataset))].sort();
  const bodies = datasets.map((dataset) => {
    const body = element("tbody");
    if (datasets.length > 1) body.append(element("tr", {}, element("th", { colspan: columns.length + 1, scope: "rowgroup" }, "Data set ", isolated(dataset))));
    body.append(...inOrder(rows.filter((row) => row.first.dataset === dataset), column).map((row) => lineOf(row, columns)));
    return body;
  });
  if (!rows.length) bodies.push(element("tbody", {}, element("tr", {}, element("td", { colspan: columns.length + 1 }, `No ${DATA.noun} matches the filters.`))));
  byId("table").replaceChildren(headerOf(columns), ...bodies);
  const lead = [`Ranked by ${METRICS[state.metric].title}; ${METRICS[state.metric].higher ? "higher" : "lower"} is better.`];
  if (datasets.length > 1) lead.push("Each data set has a ranking of its own, for accuracies on different ones cannot be compared.");
  if (rows.some((row) => row.runs.length > 1)) lead.push("Runs that differ in the seed alone are one row: mean ± standard deviation over seeds; repeats of a seed count as their mean.");
  if (alike.length) lead.push(`The same in every row: ${alike.map(({ title, text }) => `${title.toLowerCase()} ${text}`).join(", ")}.`);
  lead.push("Marked rows are on the Pareto front of accuracy and the costs that they name; click a heading to sort.");
  byId("table-lead").textContent = lead.join(" ");
}
