// What the node itself said when it ran: how many references each slot gave, the size they were brought to, and a strip of
// them. It holds for a slot as long as nothing changes that it depends on.
// @ts-check
import { feedOf, isLinked, widgetOf } from "../shared/graph.js";
import { feedsOf, upstream } from "./feeds.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/** @typedef {{strip: StoredFile, boxes: [number, number, number, number][]}} Shown Boxes in the strip: left, top, width, height. */
/** @typedef {{count: number, shown: Shown | null}} SlotRun */
/**
 * @typedef {object} Run
 * @property {Map<string, SlotRun>} slots By the key of what was connected.
 * @property {string | null} batch What the node was told of slots of several frames; counts hold for no other, and for none if
 *     that came from outside of the subgraph.
 * @property {{width: number, height: number}} size
 */

/** @type {Map<string, Run>} Nodes are made anew by undo; this stays. */
const runs = new Map();

/** Hear of the node's runs. @param {any} node @param {() => void} whenRun */
export function followRuns(node, whenRun) {
  const before = node.onExecuted;
  node.onExecuted = function (/** @type {any} */ output, /** @type {any[]} */ ...words) {
    before?.call(this, output, ...words);
    if (!output?.loom_counts || !output.loom_size) return;
    runs.set(idOf(node), noted(node, output));
    whenRun();
  };
}

/** @param {any} node @returns {Run | undefined} */
export function lastRun(node) {
  return runs.get(idOf(node));
}

/** What the node is told of slots of several frames, in one text; null if from outside of the subgraph. @param {any} node */
export function batchOf(node) {
  if (!isLinked(node, "batch")) return String(widgetOf(node, "batch")?.value);
  return upstream(feedOf(node, node.findInputSlot("batch")));
}

/** @param {any} node */
function idOf(node) {
  return `${node.graph?.id} ${node.id}`;
}

/** @param {any} node @param {any} output @returns {Run} */
function noted(node, output) {
  const slots = new Map();
  const strip = output.images?.[0];
  let first = 0;
  const filled = feedsOf(node).filter((feed) => !feed.isOff); // the others were no slots of the run
  filled.forEach(({ key }, at) => {
    const count = output.loom_counts[at];
    if (count === undefined) return;
    const boxes = output.loom_boxes?.slice(first, first + count) ?? [];
    if (key !== null) slots.set(key, { count, shown: strip && boxes.length ? { strip, boxes } : null });
    first += count;
  });
  const [width, height] = output.loom_size;
  return { slots, batch: batchOf(node), size: { width, height } };
}
