// Latency histograms: windows of counts, quantiles, and a picture against a budget.

/** @param {number} us */
export const duration = (us) => (us < 1000 ? `${Math.round(us)} µs` : us < 1e6 ? `${(us / 1000).toFixed(us < 10000 ? 1 : 0)} ms` : `${(us / 1e6).toFixed(1)} s`);

/**
 * @param {number[]} now counts since the start
 * @param {number[]|undefined} before earlier ones
 * @returns {number[]} what came between; everything if the counts began anew
 */
export function between(now, before) {
  if (!before || before.length !== now.length || now.some((n, i) => n < before[i])) return now;
  return now.map((n, i) => n - before[i]);
}

export const total = (counts) => counts.reduce((sum, n) => sum + n, 0);

/**
 * @param {number[]} counts
 * @param {number[]} edges upper ends in microseconds
 * @param {number} q
 * @returns {string} the upper end of the bucket that holds the quantile
 */
export function quantile(counts, edges, q) {
  const rank = q * total(counts);
  let below = 0;
  for (const [i, n] of counts.entries()) {
    below += n;
    if (n > 0 && below >= rank) return i < edges.length ? `≤ ${duration(edges[i])}` : `> ${duration(edges.at(-1))}`;
  }
  return "–";
}

const width = 400;
const height = 110;
const floor = 90; // of the bars
const ticks = [100, 1000, 10000, 100000, 1000000];

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** @param {number} share of the whole width, 0 to 1 */
export const bar = (share) =>
  svg("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", class: "meter", "aria-hidden": "true" }, svg("rect", { width: 100 * share, height: 1 }));

/**
 * @param {number[]} counts
 * @param {number[]} edges
 * @param {number} budget in microseconds, 0 for none
 * @param {string} label what a reader that sees no picture is told
 */
export function draw(counts, edges, budget, label) {
  const step = width / counts.length;
  const first = Math.log(edges[0]);
  const octave = Math.log(edges[1]) - first;
  const x = (us) => Math.min(Math.max(((Math.log(us) - first) / octave + 1) * step, 0), width);
  const most = Math.max(...counts, 1);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "histogram", role: "img", "aria-label": label });
  for (const [i, n] of counts.entries()) {
    if (n === 0) continue;
    const tall = Math.max((n / most) * (floor - 12), 1.5); // one packet of a million shows
    const over = budget > 0 && i > 0 && edges[i - 1] >= budget;
    picture.append(svg("rect", { class: over ? "bar over" : "bar", x: i * step + 0.5, y: floor - tall, width: step - 1, height: tall }));
  }
  picture.append(svg("line", { class: "axis", x1: 0, x2: width, y1: floor, y2: floor }));
  for (const us of ticks) {
    picture.append(svg("line", { class: "axis", x1: x(us), x2: x(us), y1: floor, y2: floor + 4 }));
    picture.append(svg("text", { x: Math.min(x(us), width - 16), y: floor + 16, "text-anchor": "middle" }, duration(us)));
  }
  if (budget > 0) {
    const at = x(budget);
    picture.append(svg("line", { class: "budget", x1: at, x2: at, y1: 0, y2: floor }));
    picture.append(svg("text", { x: at > width / 2 ? at - 4 : at + 4, y: 9, "text-anchor": at > width / 2 ? "end" : "start" }, `budget ${duration(budget)}`));
  }
  return picture;
}
