// What a node's result is compared with: the file that the graph began with, and the one that it ended in.
// @ts-check
import { downstream, filesOf, origin, widgetOf } from "../shared/graph.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
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
  const [source] = scaler ? filesOf(origin(scaler, "source") ?? {}) : [];
  if (!source) return "source";
  const savers = saversOf(node);
  if (!savers.length) return "saver";
  const [result] = savers.flatMap((saver) => filesOf(saver));
  if (!result) return "run";
  const start = Number(widgetOf(scaler, "start_seconds")?.value) || 0;
  return { source, result, start, fit: String(widgetOf(scaler, "fit")?.value ?? "cover") };
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
