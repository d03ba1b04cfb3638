// What a prompt has of this pack, and what an answer of the pre-flight says; see docs/preflight.md. Nothing of the host is imported.
// @ts-check

/** @typedef {{kind: "set", values: {node: string, input: string, value: any}[]}} SetAction */
/** @typedef {{kind: "show", node: string, input: string | null}} ShowAction */
/** @typedef {"error" | "warning" | "note"} Level */
/**
 * @typedef {object} Finding
 * @property {string} check
 * @property {Level} level
 * @property {string} sentence
 * @property {Record<string, import("./sentences.js").Phrase>} [phrases]
 * @property {string} command
 * @property {string | null} node
 * @property {string | null} input
 * @property {SetAction | ShowAction | null} action
 */
/** @typedef {{version: number, errors: number, warnings: number, findings: Finding[], report?: string}} Answer */
/** @typedef {Record<string, {class_type: string, inputs?: Record<string, any>}>} Prompt As ComfyUI queues it. */

const OURS = /^LoomVideo/;

/** @param {unknown} kind Class of a node. */
export function isOurs(kind) {
  return typeof kind === "string" && OURS.test(kind);
}

/** @param {Prompt} prompt */
export function hasOurs(prompt) {
  return Object.values(prompt).some((node) => isOurs(node.class_type));
}

/**
 * The part of a prompt that a run of some of its outputs needs.
 *
 * @template {Prompt} P
 * @param {P} prompt
 * @param {readonly (string | number)[] | undefined} outputs Ids; none for all of it.
 * @returns {P}
 */
export function neededFor(prompt, outputs) {
  if (!outputs?.length) return prompt;
  /** @type {Set<string>} */
  const needed = new Set();
  const waiting = outputs.map(String);
  while (waiting.length) {
    const id = /** @type {string} */ (waiting.pop());
    if (needed.has(id) || !(id in prompt)) continue;
    needed.add(id);
    for (const value of Object.values(prompt[id].inputs ?? {}))
      if (Array.isArray(value) && value.length === 2) waiting.push(String(value[0]));
  }
  return /** @type {P} */ (Object.fromEntries(Object.entries(prompt).filter(([id]) => needed.has(id))));
}

/** @param {Answer | null} answer @param {...Level} levels @returns {Finding[]} Those of these levels, in order. */
export function ofLevel(answer, ...levels) {
  return (answer?.findings ?? []).filter((finding) => levels.includes(finding.level));
}

/** @param {any} content What the server sent. @returns {Answer | null} Null where it is not in the form that is known here. */
export function readAnswer(content) {
  return content?.version === 1 && Array.isArray(content.findings) ? content : null;
}
