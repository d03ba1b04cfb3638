// The noise level at each step, and the strength of the source over it. As in loom_core/sampling/schedule.py,
// loom_core/models/source.py and parse_curve of nodes/adapter/media/source_mask.py.
// @ts-check

/** @typedef {{sigma: number, factor: number}} Point Of a strength curve. */
/** @typedef {{steps: number, shift: number, denoise: number}} Run How a sampler steps. */

export const MOST_FACTOR = 2;
const TRAIN_STEPS = 1000;
const FIRST_GAP = 1e-6;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** @param {Run} run @returns {{total: number, first: number}} Steps of the whole run, and the first that is taken. */
function span({ steps, denoise }) {
  const total = Math.max(steps, Math.floor(steps / denoise));
  return { total, first: total - steps };
}

/**
 * Timesteps of a run, 0 to 1000; the model's noise level at a step is a thousandth of it.
 *
 * @param {Run} run
 * @returns {number[]}
 */
export function timesteps(run) {
  const { total, first } = span(run);
  const step = (1 / TRAIN_STEPS - 1) / total;
  const made = [];
  for (let index = first; index < total; index++) {
    const even = index * step + 1;
    const sigma = (run.shift * even) / (1 + (run.shift - 1) * even) - (index ? 0 : FIRST_GAP);
    made.push(Math.floor(sigma * TRAIN_STEPS));
  }
  return made;
}

/** Where a noise level lies in a run, 0 at its start to 1 at its end. @param {number} sigma @param {Run} run */
export function placeAlong(sigma, run) {
  const { total, first } = span(run);
  const even = sigma / (run.shift - (run.shift - 1) * sigma);
  const at = ((1 - even) / (1 - 1 / TRAIN_STEPS)) * total;
  return Math.min(1, Math.max(0, (at - first) / run.steps));
}

/** The noise level at a place of a run; the inverse of `placeAlong`. @param {number} place @param {Run} run */
export function sigmaAt(place, run) {
  const { total, first } = span(run);
  const even = Math.max(0, 1 - ((first + place * run.steps) / total) * (1 - 1 / TRAIN_STEPS));
  return (run.shift * even) / (1 + (run.shift - 1) * even);
}

/** Shift of a run by its size, where the sampler's is 0. @param {number} tokens */
export function tokenShift(tokens) {
  return Math.max(1, Math.min(1 + Math.log2(Math.max(tokens, 1) / 64) * 0.5, 8));
}

/**
 * Points of a curve as they are written in the widget.
 *
 * @param {string} text
 * @returns {Point[] | null} Falling in sigma; null where the server would refuse it.
 */
export function parseCurve(text) {
  /** @type {Map<number, number>} */
  const points = new Map();
  for (const word of text.split(/[,;\n]/).map((each) => each.trim()).filter(Boolean)) {
    const parts = word.split(":").map((each) => each.trim());
    if (parts.length !== 2 || !parts.every((each) => NUMBER.test(each))) return null;
    const [sigma, factor] = parts.map(Number);
    if (!(sigma >= 0 && sigma <= 1 && factor >= 0 && factor <= MOST_FACTOR) || points.has(sigma)) return null;
    points.set(sigma, factor);
  }
  return sorted([...points].map(([sigma, factor]) => ({ sigma, factor })));
}

/** @param {Point[]} points */
function sorted(points) {
  return points.sort((a, b) => b.sigma - a.sigma);
}

/** To three decimals. @param {number} value */
export const rounded = (value) => Math.round(value * 1000) / 1000;

/** How points are written in the widget. @param {Point[]} points */
export function writeCurve(points) {
  return sorted([...points]).map(({ sigma, factor }) => `${rounded(sigma)}:${rounded(factor)}`).join(", ");
}

/**
 * The factor of a curve at a noise level; beyond its ends that of the nearest point, 1 without points.
 *
 * @param {Point[]} points Falling in sigma.
 * @param {number} sigma
 */
export function factorAt(points, sigma) {
  if (!points.length) return 1;
  const next = points.findIndex((point) => point.sigma <= sigma);
  if (next === 0) return points[0].factor;
  if (next < 0) return points[points.length - 1].factor;
  const [high, low] = [points[next - 1], points[next]];
  return low.factor + ((high.factor - low.factor) * (sigma - low.sigma)) / (high.sigma - low.sigma);
}

/**
 * A curve with one point elsewhere, between its neighbours; ends of an even curve are made where it has none.
 *
 * @param {Point[]} points
 * @param {number} index Of the point; -1 for a new one.
 * @param {Point} wanted
 * @returns {{points: Point[], index: number}} The curve, and where the point is in it.
 */
export function withPoint(points, index, wanted) {
  const factor = rounded(Math.min(MOST_FACTOR, Math.max(0, wanted.factor)));
  let sigma = rounded(Math.min(1, Math.max(0, wanted.sigma)));
  if (index < 0) {
    const found = points.findIndex((point) => rounded(point.sigma) === sigma);
    if (found >= 0) return withPoint(points, found, wanted);
    const made = sorted([...points, { sigma, factor }]);
    return { points: made, index: made.findIndex((point) => point.sigma === sigma) };
  }
  const [above, below] = [points[index - 1], points[index + 1]];
  if (above) sigma = Math.min(sigma, rounded(above.sigma - 0.001));
  if (below) sigma = Math.max(sigma, rounded(below.sigma + 0.001));
  return { points: points.map((point, at) => (at === index ? { sigma, factor } : point)), index };
}
