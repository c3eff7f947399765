// Colours, symbols and dashes, and what all charts have in common.

// Told apart with any kind of colour vision, and each at least 3:1 against its background; symbols differ as well.
const COLOURS = {
  light: ["#0067a5", "#c04a00", "#00765a", "#9b3f86", "#7a5f00", "#3d3f46", "#b3243c"],
  dark: ["#5ab4f0", "#ff9148", "#37cfa4", "#eb9bd0", "#f0dc4e", "#d4d8de", "#ff8b95"],
};
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down"];
const SHAPES = {
  circle: "M7 2a5 5 0 1 0 .01 0z", square: "M2.5 2.5h9v9h-9z", diamond: "M7 1l6 6-6 6-6-6z", "triangle-up": "M7 1.5l6 11H1z",
  cross: "M5 1h4v4h4v4H9v4H5V9H1V5h4z", x: "M3.5 1L7 4.5 10.5 1 13 3.5 9.5 7 13 10.5 10.5 13 7 9.5 3.5 13 1 10.5 4.5 7 1 3.5z",
  star: "M7 .8l1.9 4.1 4.4.5-3.3 3 .9 4.4L7 10.6l-3.9 2.2.9-4.4-3.3-3 4.4-.5z", "triangle-down": "M7 12.5L1 1.5h12z",
};
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const FILLS = ["", "-open", "-dot", "-open-dot"]; // of the symbols: a data set each
const FAMILIES = [...new Set(RUNS.map((run) => run.family))].sort();
const DATASETS = [...new Set(RUNS.map((run) => run.dataset))].sort();

const darkWanted = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (darkWanted.matches ? "dark" : "light")) === "dark";
const colourAt = (place) => COLOURS[isDark() ? "dark" : "light"][place % COLOURS.light.length];
const styleOf = (family) => {
  const place = FAMILIES.indexOf(family);
  return { colour: colourAt(place), symbol: SYMBOLS[place % SYMBOLS.length], dash: DASHES[place % DASHES.length] };
};

function swatch(colour, symbol) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 14 14", class: "swatch", "aria-hidden": "true" })) made.setAttribute(name, value);
  path.setAttribute("d", SHAPES[symbol]);
  path.setAttribute("fill", colour);
  made.append(path);
  return made;
}

function named(family) {
  const { colour, symbol } = styleOf(family);
  return element("span", { class: "named" }, swatch(colour, symbol), isolated(family));
}

const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function layoutOf(xaxis, yaxis, more = {}) {
  const [ink, muted, grid, surface] = ["ink", "muted", "grid", "surface"].map(cssColour);
  const axis = { gridcolor: grid, linecolor: muted, zeroline: false, automargin: true, tickfont: { color: muted, size: 12 }, title: {} };
  const merged = (own) => ({ ...axis, ...own, title: { text: own.title ?? "", font: { color: muted, size: 12 }, standoff: 8 } });
  return {
    font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 12 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    margin: { l: 48, r: 12, t: 12, b: 44 }, dragmode: "zoom", separators: ".,",
    hoverlabel: { bgcolor: surface, bordercolor: muted, font: { color: ink, size: 12 }, align: "left", namelength: -1 },
    xaxis: merged(xaxis), yaxis: merged(yaxis), ...more,
  };
}

const CONFIG = {
  responsive: true, displayModeBar: false, displaylogo: false, typesetMath: false, showTips: false, doubleClick: "reset",
};

// Draw, or draw anew, and say so to whoever waits for it. `about` is what a screen reader says of the chart.
async function draw(target, traces, layout, about) {
  const chart = typeof target === "string" ? byId(target) : target;
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", about);
  const empty = !traces.some((trace) => trace.type === "heatmap" || trace.x?.length);
  const note = { text: "no run to draw", showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { color: cssColour("muted") } };
  await Plotly.react(chart, traces, { ...layout, annotations: empty ? [note] : [] }, CONFIG);
  chart.dataset.drawn = String(Number(chart.dataset.drawn ?? 0) + 1);
}

function figureFor(id, title, caption = null, kind = "chart") {
  return element("figure", {}, element("h3", {}, title), element("div", { id, class: kind }), caption);
}
