// The data of the page, and small helpers that every part uses.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs; // each with its place as `index`
RUNS.forEach((run, index) => { run.index = index; });
const OF_TRAINING = DATA.noun === "run"; // others have no epochs, no seeds and no classes
const METRICS = DATA.metrics; // key -> {title, short, kind, higher}

// What the user has chosen to see.
const state = {
  metric: DATA.metric,
  seeds: "mean", // or "single"
  axis: "epoch", // or "seconds"
  search: "",
  ticked: { family: new Set(), groups: new Set(), dataset: new Set(), status: new Set() },
  chosen: [], // indices of runs, in the order in which they were chosen
  sort: { key: "rank", descending: false },
  manyClasses: "few", // or "more"
};

const byId = (id) => document.getElementById(id);

// An element with attributes (functions listen to events) and children; strings become text, never HTML.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Text from outside, in its own direction of writing.
const isolated = (text, attributes = {}) => element("bdi", { dir: "auto", ...attributes }, text);

// A label as name and what sets it apart; the name without the data set where that is told beside it, or is the only one.
function labelled(label, [name, rest], isTold = false) {
  const shown = isTold || DATASETS.length === 1 ? name : label.slice(0, label.length - rest.length);
  const parts = [isolated(shown, { class: "label-name" })];
  if (rest) parts.push(" ", isolated(rest, { class: "label-rest" }));
  return element("span", { class: "label", title: label }, ...parts);
}

// Plotly reads <b>, <br> and &amp; in its texts: with these three replaced it shows them as they were written.
function plain(text, longest = 60) {
  const letters = Array.from(String(text));
  const cut = letters.length > longest ? `${letters.slice(0, longest - 1).join("")}…` : letters.join("");
  const safe = cut.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
  return safe.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function scaled(value, step, units) {
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= step; unit += 1; }
  return `${Number(value.toPrecision(3)).toLocaleString("en")}${units[unit]}`;
}

// A figure in a few letters, with its unit.
function format(key, value) {
  if (value === null || value === undefined) return "–";
  const kind = METRICS[key].kind;
  if (kind === "share") return `${(100 * value).toFixed(2)} %`;
  if (kind === "loss") return value.toFixed(4);
  if (kind === "bytes") return scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]);
  if (kind === "count") return scaled(value, 1000, ["", " K", " M", " G", " T"]);
  if (kind === "rate") return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
  return value < 1 ? `${Number((1000 * value).toPrecision(3))} ms` : `${value.toLocaleString("en", { maximumFractionDigits: 1 })} s`;
}

// A figure of a row {figures, invalid} and how many seeds and runs it is of: ["98.73 ± 0.21 %", "3 seeds, 7 runs"].
function spreadParts(key, { figures, invalid }) {
  const [spread, wrong] = [figures[key], invalid[key] ?? 0];
  if (!spread) return [wrong ? "invalid" : "–", ""];
  const notes = spread.runs > 1 ? [countsOfSpread(spread)] : [];
  if (wrong) notes.push(`${wrong} invalid`);
  if (spread.deviation === null) return [format(key, spread.mean), notes.join(", ")];
  const isShare = METRICS[key].kind === "share";
  const mean = isShare ? (100 * spread.mean).toFixed(2) : format(key, spread.mean);
  return [`${mean} ± ${format(key, spread.deviation)}`, notes.join(", ")];
}

function countsOfSpread({ count, runs }) {
  if (runs === count) return counted(count, "seed");
  return count === 1 ? counted(runs, "repeat") : `${counted(count, "seed")}, ${counted(runs, "run")}`;
}

function formatSpread(key, row) {
  const [figure, counts] = spreadParts(key, row);
  return counts ? `${figure} (${counts})` : figure;
}

const counted = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
