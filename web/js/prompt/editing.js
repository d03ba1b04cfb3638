// What an input does to the prompt, on plain text. A mention is taken as a whole: no input leaves half of one.
// @ts-check
import { mentionsOf, written } from "./mentions.js";

/** @typedef {{text: string, start: number, end: number}} State The prompt, and what is selected of it (start is end: the caret). */

const NEAR = 64; // characters looked at around the caret; no grapheme is longer
const BEFORE_QUERY = /(?:^|[^\p{L}\p{N}_]|\p{Lo})@((?:image[^\S\n]*)?[^\s@]{0,32})$/iu;

/** @param {State} state @param {string} put @returns {State} With the selection replaced, and the caret behind. */
export function replaced({ text, start, end }, put) {
  const at = start + put.length;
  return { text: text.slice(0, start) + put + text.slice(end), start: at, end: at };
}

/** Text from elsewhere, with this prompt's line breaks. @param {string} text */
export function plain(text) {
  return text.replace(/\r\n?/g, "\n").replaceAll("\0", "");
}

/**
 * @param {State} state
 * @param {"Backward" | "Forward"} way
 * @param {[number, number] | null} [range] What the browser would take away: a word, a line.
 * @returns {State}
 */
export function deleted(state, way, range = null) {
  let [start, end] = state.start < state.end ? [state.start, state.end] : (range ?? beside(state.text, state.start, way));
  for (const mention of mentionsOf(state.text))
    if (mention.start < end && mention.end > start) [start, end] = [Math.min(start, mention.start), Math.max(end, mention.end)];
  return replaced({ text: state.text, start, end }, "");
}

/** The character, as a reader counts, beside the caret. @param {string} text @param {number} at @param {string} way @returns {[number, number]} */
function beside(text, at, way) {
  const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
  const near = way === "Backward" ? text.slice(Math.max(at - NEAR, 0), at) : text.slice(at, at + NEAR);
  const segments = [...graphemes.segment(near)].map((each) => each.segment.length);
  if (!segments.length) return [at, at];
  return way === "Backward" ? [at - /** @type {number} */ (segments.at(-1)), at] : [at, at + segments[0]];
}

/**
 * Whether a mention is being typed.
 *
 * @param {State} state
 * @returns {{start: number, filter: string} | null} Where its @ is, and what follows it up to the caret.
 */
export function typedMention({ text, start, end }) {
  if (start !== end) return null;
  const match = BEFORE_QUERY.exec(text.slice(Math.max(start - NEAR, 0), start));
  const isWhole = mentionsOf(text).some((mention) => mention.end === start);
  return match && !isWhole ? { start: start - match[1].length - 1, filter: match[1] } : null;
}

/**
 * Put a mention in the place of what was typed of it, with blanks where it would not be read as one otherwise.
 *
 * @param {State} state The caret is behind what was typed.
 * @param {number} from Where that begins.
 * @param {number} number
 * @returns {State}
 */
export function mentioned({ text, end }, from, number) {
  const before = /[\p{L}\p{N}_]$/u.test(text.slice(0, from)) ? " " : "";
  const after = /^[\s\p{P}]/u.test(text.slice(end)) ? "" : " ";
  return replaced({ text, start: from, end }, before + written(number) + after);
}

/**
 * References that fit what was typed behind the @.
 *
 * @template {{number: number, name: string}} Reference
 * @param {Reference[]} references
 * @param {string} filter
 * @returns {Reference[]}
 */
export function matching(references, filter) {
  const words = filter.toLocaleLowerCase().trim();
  const digits = words.replace(/^image\s*/, "");
  return references.filter(
    ({ number, name }) => "image".startsWith(words) || String(number).startsWith(digits) || name.toLocaleLowerCase().includes(words),
  );
}
