// What a node's result is compared with: the file that the graph began with, and the one that it ended in.
// @ts-check
import { filesFrom, isStray, queuedInputs } from "../run/runs.js";
import { queryOf, storedFile } from "../shared/files.js";
import { downstream, filesOf, origin, widgetOf } from "../shared/graph.js";

/** @typedef {import("../shared/files.js").StoredFile & {run?: string}} StoredFile With the id of the run that gave it, where it is known. */
/**
 * @typedef {object} Pair
 * @property {StoredFile} source
 * @property {StoredFile} result
 * @property {number} start Seconds into the source at which the edit begins.
 * @property {string} fit How the source was brought to the working size: cover or contain.
 */

const SCALER = "LoomVideoSourceLatentScaler";

/**
 * Source and result of an edit.
 *
 * @param {any} node LoomVideoRestoreVideo, or a sampler.
 * @returns {Pair | "source" | "saver" | "run"} What to compare, or what is missing: a source from a file, a node that
 *     saves or shows the result, or a run.
 */
export function pairOf(node) {
  const scaler = scalerOf(node);
  const begin = scaler && origin(scaler, "source");
  if (!begin || !shownBy(begin).length) return "source";
  const savers = saversOf(node);
  if (!savers.length) return "saver";
  const [result] = savers.flatMap(shownBy);
  if (!result) return "run";
  // what was queued counts: a file that was chosen since, or a start, is that of the next run
  const [loaded, prepared] = [begin, scaler].map((each) => (result.run ? queuedInputs(each, result.run) : null) ?? {});
  const [source] = [loaded.image, loaded.file, loaded.video].flatMap((name) => storedFile(name) ?? []);
  return {
    source: (isLoader(begin) && source) || shownBy(begin)[0],
    result,
    start: numberOf(prepared.start_seconds ?? widgetOf(scaler, "start_seconds")?.value),
    fit: String(prepared.fit ?? widgetOf(scaler, "fit")?.value ?? "cover"),
  };
}

/** @param {unknown} value A number, unless a link gives it, which nobody knows here. */
function numberOf(value) {
  return typeof value === "number" ? value : 0;
}

/** The same for pairs that show the same. @param {Pair} pair */
export function keyOf({ source, result }) {
  return [source, result].map((file) => `${queryOf(file)} ${file.run ?? ""}`).join(" ");
}

/**
 * What a node loads, or had from the newest run of this workflow; ComfyUI itself shows what a run of any workflow gave.
 *
 * @param {any} node
 * @returns {StoredFile[]}
 */
function shownBy(node) {
  const own = isLoader(node) ? null : filesFrom(node);
  return own ? own.files.map((file) => ({ ...file, run: own.run })) : filesOf(node).filter((file) => !isStray(file));
}

/** @param {any} node */
function isLoader(node) {
  return Boolean(node.comfyClass?.startsWith("Load"));
}

/** @param {any} node @returns {any} The node that prepared the source, or null. */
function scalerOf(node) {
  for (const input of ["source", "latent", "latent_image"]) {
    const found = origin(node, input);
    if (found?.comfyClass === SCALER) return found;
  }
  return null;
}

/** @param {any} node @returns {any[]} Nodes that save or show what comes of a node, nearest first; those of a next edit are not. */
function saversOf(node) {
  const behind = downstream(node, { passes: (at) => at.comfyClass !== SCALER });
  return behind.filter((at) => /save|preview|combine/i.test(at.comfyClass ?? ""));
}
