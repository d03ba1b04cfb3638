// How the numbers of references change when one is moved. A slot may hold several pictures, each a reference of its own, or a
// number of them that is not known before a run.
// @ts-check
import { listed, numbersOf } from "../references/numbers.js";

/**
 * @template T
 * @param {T[]} list
 * @param {number} from
 * @param {number} to Where it is afterwards.
 * @returns {T[]} A copy with one element moved.
 */
export function moved(list, from, to) {
  const made = [...list];
  made.splice(to, 0, ...made.splice(from, 1));
  return made;
}

/**
 * What a move of a slot does to the numbers.
 *
 * @param {(number | null)[]} counts References in each slot, null where that is not known.
 * @param {number} from
 * @param {number} to
 * @returns {number[] | null} `order[i]` is the old number of what is then reference i + 1, as far as the move reaches; null
 *     where a slot on the way has no known number.
 */
export function orderAfter(counts, from, to) {
  const reach = Math.max(from, to) + 1;
  if (counts.slice(0, reach).includes(null)) return null;
  return moved(numbersOf(counts).slice(0, reach).map(listed), from, to).flat();
}

/**
 * Temporal indices as the server reads them.
 *
 * @param {string} text Whole numbers below 0 with commas between them; empty for the trained ones.
 * @param {number} count Of references.
 * @param {boolean} isWhole These are all references, so that there must be as many indices.
 * @returns {number[] | null} One for each reference; null for a text that the server refuses.
 */
export function indicesOf(text, count, isWhole) {
  const words = wordsOf(text);
  if (!words.length) return Array.from({ length: count }, (_, index) => -10 * (index + 1));
  const indices = words.map((word) => (/^[+-]?\d+$/.test(word) ? Number(word) : NaN));
  const isGood = indices.every((index) => index < 0) && new Set(indices).size === indices.length;
  const isLong = isWhole ? indices.length === count : indices.length >= count;
  return isGood && isLong ? indices.slice(0, count) : null;
}

/**
 * Temporal indices after a move: each stays with its picture.
 *
 * @param {string} text
 * @param {number[]} order See `orderAfter`.
 * @returns {string} The same text where it is empty or does not reach as far.
 */
export function reindexed(text, order) {
  const words = wordsOf(text);
  if (words.length < order.length) return text;
  return [...order.map((number) => words[number - 1]), ...words.slice(order.length)].join(", ");
}

/** @param {string} text */
function wordsOf(text) {
  return text.trim() ? text.split(/[,;]/).map((word) => word.trim()) : [];
}
