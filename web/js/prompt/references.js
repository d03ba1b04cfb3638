// The references that an encode node gets, found through what is connected.
// @ts-check
import { addressOf, filesOf, isLinked, origin, slotsOf, widgetOf } from "../shared/graph.js";

/** @typedef {{number: number, name: string, address: string | null}} Reference `address` is that of a picture of it. */
/**
 * @typedef {object} Survey
 * @property {Reference[]} references One for each filled slot, numbered as if each held one picture.
 * @property {boolean} isCounted There are that many. Otherwise the number that the run will have is not known before, so that a
 *     mention must not be called wrong: a slot may hold a batch, each picture of which is a reference of its own and moves the
 *     numbers of those behind it, and references may come from a node that is not ours or from outside of a subgraph.
 */

const SLOTS = "LoomVideoReferenceSlots";
const ONE_OF_MANY = "one reference of many frames"; // of nodes/adapter/media/reference_slots.py
const STILL = /\.(png|jpe?g|bmp)$/i; // others may be animations, of which ComfyUI loads every frame
const PICTURE = /\.(png|jpe?g|bmp|webp|gif|avif|tiff?)$/i;
const NUMBERED = /^\s*@image\s*\d+\s*[:：-]?\s*/i; // titles of the bundled workflows: "@Image 1: the garment"
const ALWAYS = 0; // ComfyUI's mode of a node that is neither muted nor bypassed

/** @param {any} node Deepstack Encode. @returns {Reference[]} */
export function referencesOf(node) {
  return surveyOf(node).references;
}

/** @param {any} node Deepstack Encode. @returns {Survey} */
export function surveyOf(node) {
  const slots = origin(node, "references");
  if (!slots) return { references: [], isCounted: !isLinked(node, "references") };
  if (slots.comfyClass !== SLOTS) return { references: [], isCounted: false };
  if ((slots.mode ?? ALWAYS) !== ALWAYS) return { references: [], isCounted: true };
  const sources = slotsOf(slots, "images")
    .filter((slot) => slot.isConnected)
    .map((slot) => origin(slots, slot.name));
  const isMany = !isLinked(slots, "batch") && widgetOf(slots, "batch")?.value === ONE_OF_MANY;
  return {
    references: sources.map((source, index) => ({ number: index + 1, ...shownOf(source) })),
    isCounted: sources.every((source) => (isMany ? source : isStill(source)) && (source.mode ?? ALWAYS) === ALWAYS),
  };
}

/** @param {any} source */
function isStill(source) {
  return Boolean(source?.comfyClass?.startsWith("LoadImage")) && STILL.test(filesOf(source)[0]?.filename ?? "");
}

/** @param {any} source The node that is connected to a slot; null where it lies outside of a subgraph. */
function shownOf(source) {
  if (!source) return { name: "", address: null };
  const file = filesOf(source)[0] ?? null;
  const isLoader = source.comfyClass?.startsWith("LoadImage");
  const title = source.title === source.constructor.title && isLoader ? "" : (source.title ?? "").replace(NUMBERED, "");
  return {
    name: title || file?.filename || source.title || "",
    address: file && PICTURE.test(file.filename) ? addressOf(file, { isPreview: true }) : null,
  };
}
