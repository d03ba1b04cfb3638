// The timeline of LoomVideo Source Latent Scaler: which part of the clip is edited, what the MLLM sees of it, and how strongly
// the source holds over the steps. All of it is in the node's own widgets.
// @ts-check
import { make } from "../shared/element.js";
import { remember, setting, setWidget, watch } from "../shared/graph.js";
import { GONE, mediaOf, tellGone } from "../shared/media.js";
import { addPanel } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { makeCurve } from "./curve.js";
import { makeFilmstrip } from "./filmstrip.js";
import { TRAINED_FRAMES, mllmFrames } from "./frames.js";
import { connected, mllmBudget, stepsOf } from "./surroundings.js";
import { partOf } from "./trim.js";
import { makeTrimmer } from "./trimmer.js";
import "./words.js";

/** @typedef {import("../shared/media.js").MediaFacts} MediaFacts @typedef {import("./trim.js").Media} Media @typedef {import("./trim.js").Part} Part */

const HEIGHT = 126;
/** Nodes whose curve is shown in the clip's place; undo makes nodes anew. @type {Set<string>} */
const curved = new Set();

/** @param {any} node */
export function attach(node) {
  /** @type {MediaFacts | null} */
  let facts = null;
  let file = "";
  let length = 0;
  let isAsked = false;
  let isGone = false;

  const done = () => remember(node);

  const film = makeFilmstrip((seconds) => {
    length = seconds;
    draw();
  });
  const trimmer = makeTrimmer(film.element, {
    write({ start, maxFrames }) {
      // the widget of a linked input is not asked for, and holds what stood there before
      if (!setting(node, "start_seconds").isLinked) setWidget(node, "start_seconds", start, { isStep: false });
      if (!setting(node, "max_frames").isLinked) setWidget(node, "max_frames", maxFrames, { isStep: false });
      draw();
    },
    done,
  });
  const curve = makeCurve({
    write(text) {
      setWidget(node, "strength_curve", text, { isStep: false });
      draw();
    },
    done,
  });
  const [line, times, seen] = [make("div.loom-timeline-line"), make("span"), make("span.loom-timeline-seen")];
  const detail = make("div.loom-timeline-detail", {}, times, seen);
  const tab = (/** @type {string} */ name, /** @type {boolean} */ isCurve) =>
    make("button.loom-timeline-tab", { type: "button", onclick: () => turn(isCurve) }, name);
  const tabs = [tab(say("Clip"), false), tab(say("Strength over the steps"), true)];
  const clipView = make("div.loom-timeline-view", {}, trimmer.element, line, detail);
  const element = make("div.loom-timeline", {}, clipView, curve.element, make("div.loom-timeline-tabs", {}, ...tabs));
  const panel = addPanel(node, "loom_timeline", element, { height: () => HEIGHT });

  const key = () => `${node.graph?.id} ${node.id}`;

  /** @param {boolean} isCurve */
  function turn(isCurve) {
    if (isCurve) curved.add(key());
    else curved.delete(key());
    draw();
  }

  /** What is known of the clip; null where there is none to cut. @param {boolean} isPictures @param {number} fps */
  function media(isPictures, fps) {
    if (facts && (facts.is_image || facts.num_frames < 2)) return null;
    const rate = isPictures ? Number(setting(node, "source_fps").value) || fps : (facts?.fps ?? 0);
    const frames = facts?.num_frames ?? Math.round(length * fps);
    const own = rate || fps; // of a rate that is not known, frames are counted at the working one
    return frames ? { fps: own, frames, seconds: frames / own } : null;
  }

  async function learn() {
    const { file: source, isPictures } = connected(node);
    const now = JSON.stringify(source);
    if (now === file && !isGone) return; // one that is not there may come
    if (now !== file) [file, facts, length, isAsked, isGone] = [now, null, 0, false, false];
    if (!isGone) film.show(source, isPictures);
    const answer = source && (await mediaOf(source));
    if (now !== file) return;
    isGone = answer === GONE;
    [facts, isAsked] = [answer === GONE ? null : answer, true];
    film.show(isGone ? null : source, isPictures);
    draw();
  }

  function draw() {
    const from = connected(node);
    const [start, maxFrames, fps] = ["start_seconds", "max_frames", "fps"].map((name) => setting(node, name));
    const settings = { start: Number(start.value) || 0, maxFrames: Number(maxFrames.value) || TRAINED_FRAMES, fps: Number(fps.value) || 24 };
    const clip = from.file ? media(from.isPictures, settings.fps) : null;
    const part = clip && partOf(clip, settings);
    const marks = part?.count ? mllmFrames(part.count, mllmBudget(node)) : [];
    const isOpen = [start, maxFrames, fps].every((each) => !each.isLinked || each.value !== undefined);
    trimmer.draw({ media: clip, settings, part, marks, isFixed: { start: start.isLinked || maxFrames.isLinked, end: maxFrames.isLinked } });
    trimmer.element.classList.toggle("loom-timeline-none", !from.file);
    line.textContent = clip && part ? summary(clip, part, settings.fps, !facts?.fps && !from.isPictures) : without(from, facts, isAsked, isGone);
    const notice = clip && part ? warning(part, isOpen) : "";
    detail.classList.toggle("loom-timeline-warn", !!notice);
    times.textContent = notice || (clip && part ? moments(clip, part) : "");
    seen.textContent = notice || !marks.length ? "" : say("Qwen3-VL sees {count}", { count: marks.length });
    const strength = setting(node, "strength");
    const text = setting(node, "strength_curve");
    const tokens = ((((part?.count || 1) - 1) / 4 + 1) * Number(setting(node, "width").value ?? 832) * Number(setting(node, "height").value ?? 480)) / 1024;
    const isCurve = curved.has(key());
    [clipView.hidden, curve.element.hidden] = [isCurve, !isCurve];
    tabs.forEach((each, index) => each.setAttribute("aria-pressed", String(index === Number(isCurve))));
    if (isCurve)
      curve.draw({ text: String(text.value ?? ""), strength: Number(strength.value ?? 1), run: stepsOf(node, tokens), isFixed: text.isLinked });
  }

  watch(node, () => {
    learn();
    draw();
  });
  return panel;
}

/** A number as people write it. @param {number} value */
const short = (value) => String(Number(value.toFixed(3)));

/** @param {Media} clip @param {Part} part @param {number} fps @param {boolean} isGuess */
function summary(clip, part, fps, isGuess) {
  const words = { taken: part.taken, all: clip.frames, rate: short(clip.fps), count: part.count, fps: short(fps) };
  if (isGuess) return say("fps unknown → {count} frames at {fps} (4k + 1)", words);
  if (part.taken === clip.frames) return say("{taken} frames at {rate} → {count} frames at {fps} (4k + 1)", words);
  return say("{taken} of {all} frames at {rate} → {count} frames at {fps} (4k + 1)", words);
}

/** @param {Media} clip @param {Part} part */
function moments(clip, part) {
  const [start, end, seconds] = [part.start, part.end, clip.seconds].map((each) => each.toFixed(2));
  return say("{start} – {end} s of {seconds} s", { start, end, seconds });
}

/** @param {Part} part @param {boolean} isKnown */
function warning(part, isKnown) {
  if (!isKnown) return say("A connection sets the part; a run may take another.");
  if (!part.count) return say("The clip ends before the start.");
  if (part.count === 1) return say("The first frame is edited as a still.");
  return part.count > TRAINED_FRAMES ? say("Longer than the 121 frames of training: use context windows.") : "";
}

/** What is said where there is no clip to cut. @param {import("./surroundings.js").Connected} from @param {MediaFacts | null} facts @param {boolean} isAsked @param {boolean} isGone */
function without(from, facts, isAsked, isGone) {
  if (from.isOff) return say("What gives the clip is muted or bypassed.");
  if (!from.title) return say("Connect a clip or picture to see it here.");
  if (!from.file) return say("The source comes from {title}: its frames are known once it runs.", { title: from.title });
  if (isGone) return tellGone(from.file);
  if (!facts && !isAsked) return say("Looking at the file …");
  return facts ? say("A picture of {width} x {height}, edited as a still.", { width: facts.width, height: facts.height }) : say("The file cannot be read here; fps unknown.");
}
