// A prompt in pieces: runs of text, and mentions, which the editor shows as chips. Also what of it changed.
// @ts-check
import { mentionsOf } from "./mentions.js";

/** @typedef {{text: string, number: number | null}} Token A run of text, or a mention of reference `number` as it is written. */

/** @param {string} text @returns {Token[]} In order; together they are the text. No run is empty. */
export function tokensOf(text) {
  /** @type {Token[]} */
  const tokens = [];
  let end = 0;
  const add = (/** @type {number} */ to, /** @type {number | null} */ number) => {
    if (to > end) tokens.push({ text: text.slice(end, to), number });
    end = to;
  };
  for (const mention of mentionsOf(text)) {
    add(mention.start, null);
    add(mention.end, mention.number);
  }
  add(text.length, null);
  return tokens;
}

/**
 * The smallest range in which two lists, or two texts, differ.
 *
 * @template T
 * @param {ArrayLike<T>} before
 * @param {ArrayLike<T>} after
 * @param {(a: T, b: T) => boolean} [isSame]
 * @returns {{start: number, end: number, endAfter: number}} before[start:end] became after[start:endAfter].
 */
export function difference(before, after, isSame = (a, b) => a === b) {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && isSame(before[start], after[start])) start += 1;
  let same = 0;
  while (same < shorter - start && isSame(before[before.length - 1 - same], after[after.length - 1 - same])) same += 1;
  return { start, end: before.length - same, endAfter: after.length - same };
}

/** @param {Token} a @param {Token} b */
export function isSameToken(a, b) {
  return a.text === b.text && a.number === b.number;
}

/**
 * Where a place in a text is after the text was changed.
 *
 * @param {string} before
 * @param {string} after
 * @param {number} offset In `before`.
 */
export function carried(before, after, offset) {
  const { start, end, endAfter } = difference(before, after);
  if (offset <= start) return offset;
  return offset >= end ? offset + endAfter - end : Math.min(offset, endAfter);
}
