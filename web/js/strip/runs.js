// What the node itself said when it ran: how many references each slot gave, the size they were brought to, and a strip of
// them. It holds for a slot as long as nothing changes that it depends on.
// @ts-check
import { feedsOf } from "./links.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/** @typedef {{strip: StoredFile, boxes: [number, number, number, number][]}} Shown Boxes in the strip: left, top, width, height. */
/** @typedef {{count: number, shown: Shown | null}} SlotRun */
/** @typedef {{slots: Map<string, SlotRun>, size: import("./fitting.js").Size}} Run */

/** @type {Map<string, Run>} Nodes are made anew by undo; this stays. */
const runs = new Map();

/** Hear of the node's runs. @param {any} node @param {() => void} whenRun */
export function followRuns(node, whenRun) {
  const before = node.onExecuted;
  node.onExecuted = function (/** @type {any} */ output, /** @type {any[]} */ ...words) {
    before?.call(this, output, ...words);
    if (!output?.loom_counts || !output.loom_size) return;
    runs.set(nameOf(node), runOf(node, output));
    whenRun();
  };
}

/** @param {any} node @returns {Run | undefined} */
export function lastRun(node) {
  return runs.get(nameOf(node));
}

/** @param {any} node */
function nameOf(node) {
  return `${node.graph?.id} ${node.id}`;
}

/** @param {any} node @param {any} output @returns {Run} */
function runOf(node, output) {
  const slots = new Map();
  const strip = output.images?.[0];
  let first = 0;
  feedsOf(node).forEach(({ key }, at) => {
    const count = output.loom_counts[at];
    if (count === undefined) return;
    const boxes = output.loom_boxes?.slice(first, first + count) ?? [];
    slots.set(key, { count, shown: strip && boxes.length ? { strip, boxes } : null });
    first += count;
  });
  const [width, height] = output.loom_size;
  return { slots, size: { width, height } };
}
