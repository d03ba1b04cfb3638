// The strength of the source over the steps: bars for the steps, and the curve's points, which are moved, added and removed.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { draggable, keyed, share, startDrag } from "./drag.js";
import { MOST_FACTOR, factorAt, parseCurve, placeAlong, sigmaAt, timesteps, withPoint, writeCurve } from "./schedule.js";

/** @typedef {import("./schedule.js").Point} Point @typedef {import("./schedule.js").Run} Run */
/** @typedef {{text: string, strength: number, run: Run, isFixed: boolean}} View */

const SVG = "http://www.w3.org/2000/svg";
const FACTOR_STEP = 0.05;
const PAGE = 5;
const SAMPLES = 96;
const MOST_BARS = 100;
const NEAR = 0.03; // of the width: a press here is one on a point beside it
/** What an empty curve is: as trained, throughout. @type {Point[]} */
const EVEN = [
  { sigma: 1, factor: 1 },
  { sigma: 0, factor: 1 },
];

/**
 * @param {{write: (text: string) => void, done: () => void}} node Where the curve goes, and the end of a step.
 * @returns {{element: HTMLElement, draw: (view: View) => void}}
 */
export function makeCurve(node) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" })) svg.setAttribute(name, value);
  const dots = make("div.loom-timeline-dots");
  const scale = make("div.loom-timeline-scale", { "aria-hidden": "true" });
  const plot = make("div.loom-timeline-plot", {}, /** @type {any} */ (svg), scale, dots);
  const [first, last, said] = [make("span"), make("span"), make("span.loom-timeline-said")];
  const button = (/** @type {string} */ icon, /** @type {string} */ label, /** @type {() => void} */ act) =>
    make("button.loom-timeline-button", { type: "button", "aria-label": label, title: label, onclick: act }, make(`i.pi.pi-${icon}`, { "aria-hidden": "true" }));
  const add = button("plus", say("Add a point"), () => addInGap());
  const reset = button("refresh", say("As trained: no curve"), () => (node.write(""), node.done()));
  const element = make("div.loom-timeline-curve", { role: "group", "aria-label": say("Strength of the source over the steps") },
    plot, make("div.loom-timeline-foot", {}, first, said, add, reset, last));
  /** @type {View} */
  let view = { text: "", strength: 1, run: { steps: 1, shift: 1, denoise: 1 }, isFixed: true };

  const points = () => parseCurve(view.text) ?? [];
  const isBad = () => parseCurve(view.text) === null; // then the text is left as it is
  const shown = () => (points().length ? points() : EVEN);
  const top = () => (view.strength > 1 ? 2 * MOST_FACTOR : MOST_FACTOR);
  const heightOf = (/** @type {number} */ factor) => (factor * view.strength) / top();
  /** @param {{x: number, y: number}} at @param {Point} [old] @returns {Point} */
  const pointAt = (at, old) => ({
    sigma: sigmaAt(Math.min(1, Math.max(0, at.x)), view.run),
    factor: view.strength ? ((1 - at.y) * top()) / view.strength : (old?.factor ?? 1),
  });
  /** @param {Point[]} made */
  const write = (made) => node.write(writeCurve(made));

  /** @param {number} index @returns {import("./drag.js").Moves} */
  const moves = (index) => ({
    begin: () => ({ points: shown(), text: view.text }),
    move: ({ dx, dy }, began) => {
      const old = began.points[index];
      const at = { x: placeAlong(old.sigma, view.run) + dx, y: 1 - heightOf(old.factor) + dy };
      write(withPoint(began.points, index, { ...pointAt(at, old), ...(dx ? {} : { sigma: old.sigma }) }).points);
    },
    undo: (began) => node.write(began.text),
    done: node.done,
  });
  /** @param {number} index */
  function remove(index) {
    node.write(writeCurve(shown().filter((_, at) => at !== index)));
    node.done();
    /** @type {HTMLElement | undefined} */ (dots.children[Math.min(index, dots.children.length - 1)])?.focus();
  }
  function addInGap() {
    const at = shown().map((point) => placeAlong(point.sigma, view.run));
    const ends = [0, ...at, 1];
    const gap = ends.slice(1).reduce((best, end, index) => (end - ends[index] > ends[best + 1] - ends[best] ? index : best), 0);
    const sigma = sigmaAt((ends[gap] + ends[gap + 1]) / 2, view.run);
    const made = withPoint(shown(), -1, { sigma, factor: factorAt(shown(), sigma) });
    write(made.points);
    node.done();
    /** @type {HTMLElement} */ (dots.children[made.index])?.focus();
  }
  plot.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || view.isFixed || isBad() || event.target !== dots) return;
    event.preventDefault();
    const at = share(event, dots);
    const near = shown().findIndex((point) => Math.abs(placeAlong(point.sigma, view.run) - at.x) < NEAR);
    const made = near < 0 ? withPoint(shown(), -1, pointAt(at)) : { points: shown(), index: near };
    const moved = withPoint(made.points, made.index, pointAt(at, made.points[made.index])).points;
    const began = { points: moved, text: view.text };
    write(moved);
    startDrag(event, dots, dots, { ...moves(made.index), begin: () => began });
  });

  /** @param {number} index @returns {HTMLElement} */
  function makeDot(index) {
    const dot = make("div.loom-timeline-dot", { role: "slider", tabindex: 0, "aria-orientation": "vertical", "aria-label": say("Point of the curve") });
    draggable(dot, dots, moves(index));
    const shift = (/** @type {number} */ steps, /** @type {number} */ factor) => () => {
      const point = shown()[index];
      const sigma = steps ? sigmaAt(placeAlong(point.sigma, view.run) + steps / view.run.steps, view.run) : point.sigma;
      write(withPoint(shown(), index, { sigma, factor: point.factor + factor }).points);
      node.done();
    };
    keyed(dot, {
      ...{ ArrowUp: shift(0, FACTOR_STEP), ArrowDown: shift(0, -FACTOR_STEP), ArrowRight: shift(1, 0), ArrowLeft: shift(-1, 0) },
      ...{ PageUp: shift(0, PAGE * FACTOR_STEP), PageDown: shift(0, -PAGE * FACTOR_STEP), Home: shift(0, -MOST_FACTOR), End: shift(0, MOST_FACTOR) },
      ...{ Delete: () => remove(index), Backspace: () => remove(index) },
    });
    for (const kind of ["dblclick", "contextmenu"])
      dot.addEventListener(kind, (event) => {
        event.preventDefault();
        event.stopPropagation();
        if (!view.isFixed) remove(index);
      });
    return dot;
  }

  /** @param {View} wanted */
  function draw(wanted) {
    view = wanted;
    const curve = shown();
    svg.replaceChildren(...bars(), line(curve));
    while (!isBad() && dots.children.length < curve.length) dots.append(makeDot(dots.children.length));
    while (dots.children.length > (isBad() ? 0 : curve.length)) dots.lastElementChild?.remove();
    [...dots.children].forEach((dot, index) => place(/** @type {HTMLElement} */ (dot), curve[index]));
    scale.replaceChildren(...[top(), top() / 2, 0].map((number) => make("span", {}, String(number))));
    element.classList.toggle("loom-timeline-even", !points().length);
    for (const each of [add, reset]) /** @type {HTMLButtonElement} */ (each).disabled = view.isFixed || (each === add && isBad()) || (each === reset && !view.text);
    first.textContent = say("step 1");
    last.textContent = say("step {steps}", { steps: view.run.steps });
    said.textContent = isBad() ? say("strength_curve cannot be read; write points as 1:1, 0.5:0.8") : "";
  }
  /** @param {HTMLElement} dot @param {Point} point */
  function place(dot, point) {
    const at = placeAlong(point.sigma, view.run);
    dot.style.left = `${at * 100}%`;
    dot.style.top = `${(1 - heightOf(point.factor)) * 100}%`;
    const strength = Number((point.factor * view.strength).toFixed(3));
    const text = say("strength {strength} at noise level {sigma}, step {step}", { strength, sigma: Number(point.sigma.toFixed(3)), step: Math.min(view.run.steps, Math.floor(at * view.run.steps + 0.05) + 1) });
    const words = { valuemin: 0, valuemax: Number((MOST_FACTOR * view.strength).toFixed(3)), valuenow: strength, valuetext: text, disabled: view.isFixed };
    for (const [name, value] of Object.entries(words)) dot.setAttribute(`aria-${name}`, String(value));
    dot.title = text;
  }
  /** One bar a step, as high as the source is strong there. */
  function bars() {
    const levels = timesteps(view.run);
    const every = Math.ceil(levels.length / MOST_BARS);
    return levels.flatMap((level, index) => {
      if (index % every) return [];
      const height = heightOf(factorAt(points(), level / 1000)) * 100;
      const width = (100 / levels.length) * every;
      return [drawn("rect", { x: index * (100 / levels.length) + width * 0.15, width: width * 0.7, y: 100 - height, height })];
    });
  }
  /** @param {Point[]} curve */
  function line(curve) {
    const at = Array.from({ length: SAMPLES + 1 }, (_, index) => index / SAMPLES);
    const all = [...at, ...curve.map((point) => placeAlong(point.sigma, view.run))].sort((a, b) => a - b);
    const path = all.map((x) => `${x * 100},${(1 - heightOf(factorAt(curve, sigmaAt(x, view.run)))) * 100}`).join(" ");
    return drawn("polyline", { points: path });
  }
  return { element, draw };
}

/** @param {string} tag @param {Record<string, any>} attributes */
function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}
