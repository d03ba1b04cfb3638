// What the timeline knows from the graph: the clip that is connected, and how the sampler and the encoder read it.
// @ts-check
import { downstream, feedOf, filesOf, isLinked, origin, setting, targets } from "../shared/graph.js";
import { tokenShift } from "./schedule.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/** @typedef {{file: StoredFile | null, isPictures: boolean, title: string, isOff?: boolean}} Connected What feeds the source; no title for nothing, which may be a node that is turned off. */

const FARTHEST = 12; // nodes between a sampler and its loader
const SAMPLER = /^(LoomVideoSampler|SamplerCustomAdvanced)$/;
const TRAINED_MLLM_FRAMES = 4;
const OFFICIAL_STEPS = 50;
const TINY_STEPS = 12;

/** @param {any} node @returns {Connected} */
export function connected(node) {
  const from = origin(node, "source");
  if (!from) {
    const isOff = isLinked(node, "source") && !feedOf(node, node.findInputSlot("source")).link;
    return { file: null, isPictures: false, title: "", isOff };
  }
  const isLoader = /^Load(Image|Video)/.test(from.comfyClass ?? "");
  return {
    file: isLoader ? (filesOf(from)[0] ?? null) : null,
    isPictures: /^LoadImage/.test(from.comfyClass ?? ""),
    title: String(from.title ?? from.type ?? "?"),
  };
}

/** Frames that the encoder lets the MLLM see. @param {any} node @returns {number} */
export function mllmBudget(node) {
  const encoder = targets(node, 0).find((each) => each.comfyClass === "LoomVideoDeepstackEncode");
  const value = Number(encoder && setting(encoder, "mllm_frames").value);
  return value >= 2 ? value : TRAINED_MLLM_FRAMES;
}

/**
 * How the sampler that gets the source steps; the model's defaults where there is none, or where it leaves them open.
 *
 * @param {any} node
 * @param {number} tokens Of the result, for a shift that follows them.
 * @returns {import("./schedule.js").Run}
 */
export function stepsOf(node, tokens) {
  const sampler = downstream(node, { slots: [0, 1] }).find((each) => SAMPLER.test(each.comfyClass ?? ""));
  const stepper = sampler?.comfyClass === "SamplerCustomAdvanced" ? origin(sampler, "sigmas") : sampler;
  const read = (/** @type {string} */ name, /** @type {number} */ otherwise) => {
    const value = Number(stepper && setting(stepper, name).value);
    return Number.isFinite(value) && value >= 0 ? value : otherwise;
  };
  return {
    steps: Math.round(read("steps", 0)) || (isTiny(stepper) ? TINY_STEPS : OFFICIAL_STEPS),
    shift: read("shift", 5) || tokenShift(tokens),
    denoise: Math.min(1, read("denoise", 1) || 1),
  };
}

/** Whether a node's model is the built-in one. @param {any} node */
function isTiny(node) {
  for (let at = node, step = 0; at && step < FARTHEST; at = origin(at, "model"), step++)
    if (at.comfyClass === "LoomVideoModelLoader") return /^built-in/.test(String(at.widgets?.[0]?.value));
  return false;
}
