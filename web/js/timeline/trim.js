// The part of a clip that is edited, as the node's start_seconds and max_frames cut it, and how handles move it.
// @ts-check
import { STRIDE, nearestFrames, resampleIndices, roundEven, snapFrames } from "./frames.js";

/** @typedef {{fps: number, frames: number, seconds: number}} Media A clip: its rate, number of frames and length. */
/** @typedef {{start: number, maxFrames: number, fps: number}} Settings Of the node: seconds, frames, working rate. */
/** @typedef {{count: number, taken: number, left: number, start: number, end: number, most: number}} Part `count` working
 * frames from `start` to `end` (seconds), made of `taken` of the `left` frames of the clip behind the start; at most `most`
 * could be had from there. A count of 0: it starts behind the end. */

export const LONGEST = 9601; // what max_frames takes

/** Seconds as the widget keeps them. @param {number} value */
const kept = (value) => Math.max(0, Math.round(value * 100) / 100);

/** @param {Media} media @param {Settings} settings @returns {Part} */
export function partOf(media, settings) {
  const { fps } = settings;
  const first = roundEven(settings.start * media.fps);
  const [start, left] = [first / media.fps, media.frames - first];
  if (left < 1) return { count: 0, taken: 0, left: 0, start, end: start, most: 0 };
  const most = resampleIndices(media.fps, left, fps, LONGEST).length;
  const count = resampleIndices(media.fps, left, fps, settings.maxFrames).length;
  const taken = count === 1 ? 1 : Math.min(left, Math.max(1, Math.floor((count / fps) * media.fps + 0.5)));
  return { count, taken, left, start, end: start + count / fps, most };
}

/**
 * Settings after the end was moved.
 *
 * @param {Media} media
 * @param {Settings} settings
 * @param {number} count Wanted frames; brought to 4k + 1 and to what is there.
 * @returns {Settings}
 */
export function withCount(media, settings, count) {
  const { most } = partOf(media, settings);
  return most ? { ...settings, maxFrames: Math.min(nearestFrames(count), most) } : settings;
}

/**
 * Settings after the start was moved while the end stays, by whole latent frames.
 *
 * @param {Media} media
 * @param {Settings} settings
 * @param {number} seconds Where the start is wanted.
 * @returns {Settings}
 */
export function withStart(media, settings, seconds) {
  const part = partOf(media, settings);
  const { fps } = settings;
  if (!part.count) return { ...settings, start: kept(Math.min(seconds, Math.max(0, media.seconds - 1 / fps))) };
  const whole = snapFrames(Math.floor(part.end * fps + 1e-3));
  const isFirst = seconds <= (STRIDE / 2 / fps);
  const count = isFirst ? whole : Math.min(whole, nearestFrames((part.end - seconds) * fps));
  const start = isFirst ? 0 : kept(part.end - count / fps);
  const moved = { ...settings, start };
  return partOf(media, moved).count === count ? moved : { ...moved, maxFrames: count };
}

/**
 * Settings after the whole part was moved; its length stays.
 *
 * @param {Media} media
 * @param {Settings} settings
 * @param {number} seconds Where the start is wanted.
 * @returns {Settings}
 */
export function withPlace(media, settings, seconds) {
  const { count } = partOf(media, settings);
  const last = Math.max(0, media.frames - Math.ceil((count / settings.fps) * media.fps - 1e-6));
  const frame = Math.min(Math.max(0, Math.round(seconds * media.fps)), last);
  const moved = { ...settings, start: kept(frame / media.fps) };
  // what is left behind the start may be a frame short of what it was
  return partOf(media, moved).count >= count ? moved : settings;
}
