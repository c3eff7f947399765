// The data of the page, and small helpers that every part uses.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs; // each with its place as `index`
RUNS.forEach((run, index) => { run.index = index; });
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

function formatSpread(key, spread) {
  if (!spread) return "–";
  if (spread.deviation === null) return format(key, spread.mean);
  if (METRICS[key].kind === "share") {
    return `${(100 * spread.mean).toFixed(2)} ± ${(100 * spread.deviation).toFixed(2)} % (${spread.count})`;
  }
  return `${format(key, spread.mean)} ± ${format(key, spread.deviation)} (${spread.count})`;
}

const counted = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
