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
// How symbols are filled: a data set each. From the fifth on they are smaller as well.
const FILLS = [
  { symbol: "", name: "filled", fill: 1 }, { symbol: "-open", name: "open", fill: 0 },
  { symbol: "", name: "pale", fill: 0.3 }, { symbol: "-open-dot", name: "open with a dot", fill: 0, dot: true },
];
const FAMILIES = [...new Set(RUNS.map((run) => run.family))].sort();
const DATASETS = [...new Set(RUNS.map((run) => run.dataset))].sort();

const darkWanted = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (darkWanted.matches ? "dark" : "light")) === "dark";
const colourAt = (place) => COLOURS[isDark() ? "dark" : "light"][place % COLOURS.light.length];
const styleOf = (family) => {
  const place = FAMILIES.indexOf(family);
  return { colour: colourAt(place), symbol: SYMBOLS[place % SYMBOLS.length], dash: DASHES[place % DASHES.length] };
};

// The look of a data set's symbols and of the line of its front.
function lookOf(dataset) {
  const place = DATASETS.indexOf(dataset);
  return { ...FILLS[place % FILLS.length], size: place < FILLS.length ? 10 : 7, dash: DASHES[place % DASHES.length] };
}

// `colour` with this share of opacity, as Plotly and CSS read it.
const faded = (colour, share) => `rgba(${[1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)).join(",")},${share})`;

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function swatch(colour, symbol, { fill = 1, dot = false } = {}) {
  const outline = fill < 1 ? { stroke: colour, "stroke-width": 1.6 } : {};
  const path = svg("path", { d: SHAPES[symbol], fill: colour, "fill-opacity": fill, ...outline });
  const centre = dot ? [svg("circle", { cx: 7, cy: 7, r: 1.6, fill: colour })] : [];
  return svg("svg", { viewBox: "-1 -1 16 16", class: "swatch", "aria-hidden": "true" }, path, ...centre);
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
  const note = { text: `no ${DATA.noun} to draw`, showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5, font: { color: cssColour("muted") } };
  await Plotly.react(chart, traces, { ...layout, annotations: empty ? [note] : [] }, CONFIG);
  chart.dataset.drawn = String(Number(chart.dataset.drawn ?? 0) + 1);
}

function figureFor(id, title, caption = null, kind = "chart") {
  return element("figure", {}, element("h3", {}, title), element("div", { id, class: kind }), caption);
}
