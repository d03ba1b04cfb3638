// A finding in the language of ComfyUI's settings. The server says it in English, and of which templates and values it is made.
// @ts-check
import { knows, say } from "../shared/text.js";

/** @typedef {{text: string, values: Record<string, string | Phrase>}} Phrase See loom_core/phrases.py. */
/** @typedef {{sentence: string, phrases?: Record<string, Phrase>}} Said */

/**
 * What a finding says.
 *
 * @param {Said} finding
 * @returns {{text: string, isTranslated: boolean}} The English sentence where a part of it is not known in the language.
 */
export function sentenceOf({ sentence, phrases = {} }) {
  const parts = Object.entries(phrases);
  if (!parts.length || !parts.every(([, phrase]) => isKnown(phrase)))
    return { text: sentence, isTranslated: false };
  const values = Object.fromEntries(parts.map(([name, phrase]) => [name, told(phrase)]));
  const frame = [
    "found {found}",
    ...("expected" in values ? ["expected {expected}"] : []),
    ...("fix" in values ? ["to fix: {fix}"] : []),
  ].join("; ");
  return { text: say(frame, values), isTranslated: true };
}

/** @param {Phrase} phrase @returns {boolean} Names, numbers and the like need no translation. */
function isKnown({ text, values }) {
  return knows(text) && Object.values(values).every((value) => typeof value === "string" || isKnown(value));
}

/** @param {Phrase} phrase @returns {string} */
function told({ text, values }) {
  const said = Object.entries(values).map(([name, value]) => [name, typeof value === "string" ? say(value) : told(value)]);
  return say(text, Object.fromEntries(said));
}
