// Which runs are shown, their rows (mean over seeds, or single runs), ranks and Pareto fronts.
// Repeats of a seed count as their mean: they tell nothing of other seeds.

const FACETS = { family: "Family", groups: "Groups", dataset: "Data set", status: "Status" };

// Every word of the search is somewhere in what is known of the run.
function matchesSearch(run) {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  run.searched ??= [run.label, run.path, run.family, run.dataset, run.status, ...settingsOf(run)].join("\n").toLowerCase();
  return words.every((word) => run.searched.includes(word));
}

function settingsOf(run) {
  return DATA.keys.map((key, place) => `${key}=${DATA.texts[run.settings[place]] ?? ""}`);
}

function isShown(run, without = null) {
  const ticked = Object.entries(state.ticked);
  return ticked.every(([key, values]) => key === without || !values.size || values.has(run[key])) && matchesSearch(run);
}

const meanOf = (values) => (new Set(values).size === 1 ? values[0] : values.reduce((sum, value) => sum + value, 0) / values.length);

// Mean and standard deviation over seeds of [seed, value] pairs.
function spreadOf(pairs) {
  const ofSeed = new Map();
  for (const [seed, value] of pairs) ofSeed.set(seed, [...(ofSeed.get(seed) ?? []), value]);
  const means = [...ofSeed.values()].map(meanOf);
  const mean = meanOf(means);
  const squares = means.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = means.length > 1 ? Math.sqrt(squares / (means.length - 1)) : null;
  return { mean, deviation, count: means.length, runs: pairs.length };
}

// Indices of the points {accuracy, cost} that no other beats: from the cheapest on, equal ones all.
function paretoFront(points) {
  const order = points.map((_, index) => index);
  order.sort((a, b) => points[a].cost - points[b].cost || points[b].accuracy - points[a].accuracy);
  const members = [];
  let best = null;
  for (const index of order) {
    const point = points[index];
    if (best === null || point.accuracy > best.accuracy || (point.accuracy === best.accuracy && point.cost === best.cost)) {
      members.push(index);
      best = point;
    }
  }
  return members;
}

const accuracyKey = () => (METRICS[state.metric].kind === "share" ? state.metric : DATA.accuracy);

// The rows of these runs: {label, name, runs, figures, invalid: key -> number of runs, rank, fronts: cost -> place on the front, from 1}.
function rowsOf(runs) {
  const gathered = new Map();
  for (const run of runs) {
    const key = state.seeds === "mean" ? run.row : `run ${run.index}`;
    if (!gathered.has(key)) gathered.set(key, []);
    gathered.get(key).push(run);
  }
  const rows = [...gathered.values()].map((members) => {
    const [figures, invalid] = [{}, {}];
    for (const key of Object.keys(METRICS)) {
      const pairs = members.filter((run) => run.values[key] !== undefined).map((run) => [run.seed, run.values[key]]);
      if (pairs.length) figures[key] = spreadOf(pairs);
      invalid[key] = members.filter((run) => run.invalid.includes(key)).length;
    }
    const first = members[0];
    const { label, name } = state.seeds === "mean" ? DATA.rows[first.row] : first;
    return { label, name, runs: members, first, figures, invalid, rank: null, fronts: {} };
  });
  for (const dataset of new Set(rows.map((row) => row.first.dataset))) {
    const same = rows.filter((row) => row.first.dataset === dataset);
    rankWithin(same);
    for (const cost of DATA.fronts) placeOnFront(same, cost);
  }
  return rows;
}

function rankWithin(rows) {
  const known = rows.filter((row) => row.figures[state.metric]);
  const value = (row) => row.figures[state.metric].mean * (METRICS[state.metric].higher ? -1 : 1);
  known.sort((a, b) => value(a) - value(b));
  known.forEach((row, place) => {
    const before = known[place - 1];
    row.rank = before && value(before) === value(row) ? before.rank : place + 1;
  });
}

function placeOnFront(rows, cost) {
  const accuracy = accuracyKey();
  const known = rows.filter((row) => row.figures[accuracy] && row.figures[cost]);
  const points = known.map((row) => ({ accuracy: row.figures[accuracy].mean, cost: row.figures[cost].mean }));
  paretoFront(points).forEach((index, place) => { known[index].fronts[cost] = place + 1; });
}
