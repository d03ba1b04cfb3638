// Which frames of a clip are edited, and which of those the MLLM sees. As in loom_core/geometry.py and
// loom_core/mllm/frames.py, so that the timeline shows what a run will do.
// @ts-check

export const STRIDE = 4; // frames a latent, after the first
export const TRAINED_FRAMES = 121;
const FRAMES_A_PICK = 15;
const ASSUMED_FPS = 24;
const SAMPLED_FPS = 2;
const PROCESSOR_MOST = 768;

/** To the nearest whole number, halves to the even one, as Python rounds. @param {number} value */
export function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/** The largest 4k + 1 that is not above `count`, at least 1. @param {number} count */
export function snapFrames(count) {
  return Math.max(1, Math.floor((count - 1) / STRIDE) * STRIDE + 1);
}

/** The 4k + 1 that is nearest to `count`, at least 1. @param {number} count */
export function nearestFrames(count) {
  return Math.max(1, Math.round((count - 1) / STRIDE) * STRIDE + 1);
}

/**
 * Source frames that make a clip of another rate, cut to 4k + 1.
 *
 * @param {number} sourceFps
 * @param {number} sourceFrames At least 1.
 * @param {number} fps Of the result.
 * @param {number} maxFrames Longest result.
 * @returns {number[]} Rising from 0.
 */
export function resampleIndices(sourceFps, sourceFrames, fps, maxFrames) {
  const inRange = Math.min(Math.floor(sourceFps * ((maxFrames - 1) / fps)) + 1, sourceFrames);
  const interval = sourceFps / fps;
  const indices = [];
  let position = 0;
  do {
    indices.push(Math.min(roundEven(position), sourceFrames - 1));
    position += interval;
  } while (roundEven(position) < inRange && indices.length <= maxFrames * 3);
  return indices.slice(0, snapFrames(Math.min(indices.length, maxFrames)));
}

/**
 * `count` numbers evenly from 0 to `last`, both among them; 0 alone for a count of 1.
 *
 * @param {number} last
 * @param {number} count
 * @param {(value: number) => number} whole How they become whole numbers.
 */
function spread(last, count, whole) {
  const step = count > 1 ? last / (count - 1) : 0;
  return Array.from({ length: count }, (_, index) => (index && index === count - 1 ? last : whole(index * step)));
}

/** @param {number} count Frames of the source. @returns {number[]} */
function firstThinning(count) {
  if (count <= FRAMES_A_PICK) return Array.from({ length: count }, (_, index) => index);
  const kept = Math.floor(count / FRAMES_A_PICK);
  return kept === 1 ? [0, count - 1] : spread(count - 1, kept, Math.floor);
}

/**
 * The working frames that the MLLM sees, after both thinnings.
 *
 * @param {number} count Working frames, at least 1.
 * @param {number} most The encode node's `mllm_frames`.
 * @returns {number[]} Rising.
 */
export function mllmFrames(count, most) {
  const first = firstThinning(count);
  const sampled = Math.floor((first.length / ASSUMED_FPS) * SAMPLED_FPS);
  const kept = Math.min(Math.max(sampled, most), PROCESSOR_MOST, first.length);
  return spread(first.length - 1, kept, roundEven).map((index) => first[index]);
}
