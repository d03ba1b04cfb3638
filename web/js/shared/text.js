// What the panels say, in the languages of locales/. English stands in the code, as the key.
// @ts-check
import { app } from "../../../../scripts/app.js";

/** @type {Record<string, Record<string, string>>} */
const words = { zh: {} };

/**
 * Add what a feature says in another language.
 *
 * @param {string} language Such as "zh".
 * @param {Record<string, string>} table From the English sentence.
 */
export function addWords(language, table) {
  words[language] = { ...words[language], ...table };
}

/** Whether a sentence is there in the language of ComfyUI's settings; none is looked for in English. @param {string} english */
export function knows(english) {
  return Object.hasOwn(words[language()] ?? {}, english);
}

function language() {
  return String(app.extensionManager?.setting?.get("Comfy.Locale") ?? "en");
}

/**
 * A sentence in the language of ComfyUI's settings.
 *
 * @param {string} english With {names} of values in braces.
 * @param {Record<string, unknown>} [values]
 */
export function say(english, values = {}) {
  const sentence = words[language()]?.[english] ?? english;
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
