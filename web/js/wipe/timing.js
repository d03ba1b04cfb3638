// Which frame of the source belongs to which frame of the result, and when a player shows a frame.
// @ts-check

/**
 * @typedef {object} Timing
 * @property {number} resultFps Frames a second of the result.
 * @property {number} sourceFps Of the source's file.
 * @property {number} sourceFrames Frames in the source's file.
 * @property {number} start Seconds into the source at which the edit begins.
 */

/**
 * The source's frame that is shown at the time of a frame of the result: the nearest, as where the edit was made
 * (loom_core/media/timeline.py).
 *
 * @param {number} index Of the result's frame, from 0.
 * @param {Timing} timing
 */
export function partner(index, { resultFps, sourceFps, sourceFrames, start }) {
  return clamp(Math.round(start * sourceFps + index * (sourceFps / resultFps)), 0, sourceFrames - 1);
}

/** Seconds in the middle of a frame, so that rounding reaches no neighbour. @param {number} index @param {number} fps */
export function middle(index, fps) {
  return (index + 0.5) / fps;
}

/** The frame that begins at a time. @param {number} seconds @param {number} fps */
export function frameAt(seconds, fps) {
  return Math.round(seconds * fps);
}

/** @param {number} value @param {number} least @param {number} most */
export function clamp(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}

/**
 * How far a player must wait for the other.
 *
 * @param {number} lead Seconds by which the source is ahead of the result.
 * @param {number} frame Seconds of a frame.
 * @returns {"source" | "result" | null} Which of them waits.
 */
export function waiting(lead, frame) {
  if (lead > 1.5 * frame) return "source";
  return lead < -1.5 * frame ? "result" : null;
}
