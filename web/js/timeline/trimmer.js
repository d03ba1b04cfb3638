// The filmstrip with what is cut out of it: two handles, the part between them, and marks of what the MLLM sees.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { draggable, keyed } from "./drag.js";
import { STRIDE } from "./frames.js";
import { partOf, withCount, withPlace, withStart } from "./trim.js";

/** @typedef {import("./trim.js").Media} Media @typedef {import("./trim.js").Settings} Settings @typedef {import("./trim.js").Part} Part */
/** @typedef {{media: Media | null, settings: Settings, part: Part | null, marks: number[], isFixed: {start: boolean, end: boolean}}} View */

const PAGE = 4; // latent frames that a page key moves by

/**
 * @param {HTMLElement} film
 * @param {{write: (settings: Settings) => void, done: () => void}} node Where settings go, and the end of a step.
 * @returns {{element: HTMLElement, draw: (view: View) => void}}
 */
export function makeTrimmer(film, node) {
  const handle = (/** @type {string} */ side) =>
    make(`div.loom-timeline-handle.loom-timeline-${side}`, { role: "slider", tabindex: 0, "aria-orientation": "horizontal" });
  const [start, end] = [handle("start"), handle("end")];
  const part = make("div.loom-timeline-part");
  const [before, after] = [make("div.loom-timeline-out"), make("div.loom-timeline-out")];
  const marks = make("div.loom-timeline-marks", { role: "img" });
  const element = make("div.loom-timeline-trimmer", {}, film, before, after, part, marks, start, end);
  /** @type {View} */
  let view = { media: null, settings: { start: 0, maxFrames: 1, fps: 24 }, part: null, marks: [], isFixed: { start: true, end: true } };

  /** @param {(media: Media, settings: Settings) => Settings} change @param {Settings} [from] */
  function change(change, from = view.settings) {
    if (view.media) node.write(change(view.media, from));
  }
  /** @param {(media: Media, settings: Settings, seconds: number, part: Part) => Settings} change @returns {import("./drag.js").Moves} */
  const moves = (change) => ({
    begin: () => view.settings,
    move: ({ dx }, began) => view.media && node.write(change(view.media, began, dx * view.media.seconds, partOf(view.media, began))),
    undo: (began) => node.write(began),
    done: node.done,
  });
  draggable(start, element, moves((media, settings, by, part) => withStart(media, settings, part.start + by)));
  draggable(end, element, moves((media, settings, by, part) => withCount(media, settings, part.count + by * settings.fps)));
  draggable(part, element, moves((media, settings, by, part) => withPlace(media, settings, part.start + by)));

  const step = (/** @type {() => void} */ act) => () => (act(), node.done());
  const moveStart = (/** @type {number} */ latents) =>
    step(() => change((media, settings) => withStart(media, settings, settings.start + (latents * STRIDE) / settings.fps)));
  const slide = (/** @type {number} */ latents) =>
    step(() => change((media, settings) => withPlace(media, settings, settings.start + (latents * STRIDE) / settings.fps)));
  const moveEnd = (/** @type {number} */ latents) =>
    step(() => change((media, settings) => withCount(media, settings, partOf(media, settings).count + latents * STRIDE)));
  const either = (/** @type {number} */ latents) => (/** @type {KeyboardEvent} */ event) => (event.shiftKey ? slide : moveStart)(latents)();
  keyed(start, {
    ...{ ArrowRight: either(1), ArrowUp: either(1), ArrowLeft: either(-1), ArrowDown: either(-1) },
    ...{ PageUp: either(PAGE), PageDown: either(-PAGE) },
    Home: step(() => change((media, settings) => withStart(media, settings, 0))),
    End: step(() => change((media, settings) => withStart(media, settings, media.seconds))),
  });
  keyed(end, {
    ...{ ArrowRight: moveEnd(1), ArrowUp: moveEnd(1), ArrowLeft: moveEnd(-1), ArrowDown: moveEnd(-1) },
    ...{ PageUp: moveEnd(PAGE), PageDown: moveEnd(-PAGE) },
    Home: step(() => change((media, settings) => withCount(media, settings, 1))),
    End: step(() => change((media, settings) => withCount(media, settings, Infinity))),
  });

  /** @param {View} wanted */
  function draw(wanted) {
    view = wanted;
    const { media, settings } = view;
    const cut = view.part;
    element.classList.toggle("loom-timeline-whole", !media || !cut);
    if (!media || !cut) return;
    const at = (/** @type {number} */ seconds) => `${Math.min(100, Math.max(0, (seconds / media.seconds) * 100))}%`;
    const [from, to] = [at(cut.start), at(Math.min(cut.end, media.seconds))];
    element.style.setProperty("--loom-start", from);
    element.style.setProperty("--loom-stop", to);
    value(start, {
      label: say("Start of the edit"),
      range: [0, media.seconds, cut.start],
      text: say("{seconds} s", { seconds: cut.start.toFixed(2) }),
      isFixed: view.isFixed.start,
    });
    value(end, {
      label: say("End of the edit"),
      range: [1, Math.max(1, cut.most), cut.count],
      text: say("{count} frames, to {seconds} s", { count: cut.count, seconds: cut.end.toFixed(2) }),
      isFixed: view.isFixed.end,
    });
    part.title = say("Drag to move the part; Shift and the arrows on the start do the same");
    const times = view.marks.map((frame) => cut.start + frame / settings.fps);
    marks.setAttribute(
      "aria-label",
      say("Qwen3-VL sees {count} frames: {times} s", { count: times.length, times: times.map((time) => time.toFixed(2)).join(", ") }),
    );
    marks.replaceChildren(
      ...times.map((time, index) => {
        const title = say("Qwen3-VL sees frame {frame} ({seconds} s)", { frame: view.marks[index] + 1, seconds: time.toFixed(2) });
        return make("span.loom-timeline-mark", { title, style: `left: ${at(time)}` });
      }),
    );
  }
  return { element, draw };
}

/**
 * What a handle says.
 *
 * @param {HTMLElement} handle
 * @param {{label: string, range: [number, number, number], text: string, isFixed: boolean}} words Range: least, most, now.
 */
function value(handle, { label, range, text, isFixed }) {
  const [least, most, now] = range.map((number) => String(Math.round(number * 1000) / 1000));
  const words = { label, valuemin: least, valuemax: most, valuenow: now, valuetext: text, disabled: String(isFixed) };
  for (const [name, said] of Object.entries(words)) handle.setAttribute(`aria-${name}`, said);
  handle.title = `${label}: ${text}`;
}
