// What each node of a queued prompt does for one sampler. Pure; a prompt is as the server got it: no reroutes, no subgraphs.
// @ts-check

/** @typedef {"load" | "encode" | "denoise" | "decode"} Phase */
/** @typedef {Record<string, {class_type: string, inputs: Record<string, any>}>} Prompt By execution id. */

/** In the order of a run. @type {Phase[]} */
export const PHASES = ["load", "encode", "denoise", "decode"];
export const SAMPLER = "LoomVideoSampler";
const LOADED = /^(model|unet|clip|vae)/i;

/** The samplers of a prompt. @param {Prompt} prompt @returns {string[]} Execution ids. */
export function samplersOf(prompt) {
  return Object.keys(prompt).filter((id) => prompt[id].class_type === SAMPLER);
}

/** Links into a node. @param {Prompt} prompt @param {string} id @returns {{from: string, input: string}[]} */
function linksInto(prompt, id) {
  return Object.entries(prompt[id]?.inputs ?? {})
    .filter(([, value]) => Array.isArray(value) && value.length === 2 && String(value[0]) in prompt)
    .map(([input, value]) => ({ from: String(value[0]), input }));
}

/**
 * The phase in which each node works for a sampler. Another sampler of ours, and what lies behind it, works for itself.
 *
 * @param {Prompt} prompt
 * @param {string} sampler
 * @returns {Map<string, Phase>} Nodes that do nothing for it are not in it.
 */
export function rolesFor(prompt, sampler) {
  /** @type {Map<string, Phase>} */
  const roles = new Map([[sampler, "denoise"]]);
  const isOther = (/** @type {string} */ id) => prompt[id].class_type === SAMPLER;
  const before = [sampler];
  for (let at = before.pop(); at; at = before.pop()) {
    for (const { from, input } of linksInto(prompt, at)) {
      const loads = LOADED.test(input) || /load/i.test(prompt[from].class_type);
      if (isOther(from) || (roles.has(from) && !loads)) continue;
      if (!roles.has(from)) before.push(from);
      roles.set(from, loads ? "load" : "encode");
    }
  }
  for (let grew = true; grew; ) {
    grew = false;
    for (const id of Object.keys(prompt)) {
      if (roles.has(id) || isOther(id)) continue;
      const isFed = linksInto(prompt, id).some(({ from }) => from === sampler || roles.get(from) === "decode");
      if (isFed) roles.set(id, "decode");
      grew ||= isFed;
    }
  }
  return roles;
}
