// What is connected to the slots of Reference Slots.
// @ts-check
import { feedOf, filesOf, slotsOf } from "../shared/graph.js";
import { say } from "../shared/text.js";
import "./words.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/**
 * @typedef {object} Feed What is connected to one slot.
 * @property {any} source The node, seen through reroutes and bypassed nodes; null where it lies outside of this subgraph, or is off.
 * @property {boolean} isOff It is muted, or bypassed with nothing to pass on: the slot is empty in a run.
 * @property {string} called The title of the node that is off, or what the subgraph calls what comes from outside of it.
 * @property {string | null} key Of that output, the same as long as nothing before it changes; null where it depends on what
 *     lies outside of this subgraph, whose changes are not seen from here.
 * @property {StoredFile | null} file The picture that it loads, or has last shown.
 * @property {boolean} isLoader It is ComfyUI's own loader of one file.
 */

const GROUP = "images";
const LOADERS = ["LoadImage", "LoadImageOutput"];
const NUMBERED = /^\s*@image\s*\d+\s*[:：-]?\s*/i; // titles of the bundled workflows: "@Image 1: the garment"

/** @param {any} node Reference Slots. @returns {Feed[]} In the order of the slots; those without a link are left out. */
export function feedsOf(node) {
  return connectedSlots(node).map(({ index }) => {
    const from = feedOf(node, index);
    const { node: source, link } = from;
    const before = upstream(from);
    return {
      source,
      isOff: !link,
      called: source ? "" : (link ? outsideOf(node, link) : node.getInputNode(index)?.title) ?? "",
      key: before === null ? null : `${link?.origin_slot} ${before}`,
      file: source ? (filesOf(source)[0] ?? null) : null,
      isLoader: LOADERS.includes(source?.comfyClass),
    };
  });
}

/** @param {any} node Reference Slots. @returns {{name: string, index: number}[]} Slots with a link; `index` as in the node. */
export function connectedSlots(node) {
  return slotsOf(node, GROUP).filter((slot) => slot.isConnected);
}

/** Slots before the last filled one that are empty in a run. @param {any} node @returns {string[]} */
export function gapsOf(node) {
  const slots = slotsOf(node, GROUP).map(({ name, index, isConnected }) => ({
    name: name.slice(GROUP.length + 1),
    isFilled: isConnected && feedOf(node, index).link !== null,
  }));
  const last = slots.map((slot) => slot.isFilled).lastIndexOf(true);
  return slots.filter((slot, at) => at < last && !slot.isFilled).map((slot) => slot.name);
}

/**
 * What people call a reference: the title that somebody gave its node, else its file. The number that a title may begin with
 * is left out, since it stands beside the name.
 *
 * @param {Feed} feed
 */
export function nameOf({ source, called, file, isLoader }) {
  if (!source) return called.replace(NUMBERED, "") || called || say("From outside of this subgraph");
  const isTitled = !isLoader || source.title !== source.constructor.title;
  const title = isTitled ? String(source.title ?? "").replace(NUMBERED, "") : "";
  return title || file?.filename || source.title || "";
}

/** @param {any} node @param {any} link @returns {string | undefined} */
function outsideOf(node, link) {
  return node.graph.inputNode?.slots[link.origin_slot]?.displayName;
}

/**
 * Everything that an input depends on, in one text; of a subgraph's node also what lies in it.
 *
 * @param {{node: any, link: any}} from What feeds it, as of `feedOf`.
 * @returns {string | null} null where some of it lies outside of this subgraph.
 */
export function upstream({ node: last, link }) {
  let isWhole = last !== null || link === null;
  /** @type {any[]} */
  const found = [];
  const seen = new Set();
  const visit = (/** @type {any} */ node, /** @type {any} */ by) => {
    const inner = node?.subgraph?.outputNode?.slots?.[by?.origin_slot]?.getLinks?.()[0];
    if (inner) visit(node.subgraph.getNodeById(inner.origin_id), inner); // each output has its own
    if (!node || seen.has(node)) return;
    seen.add(node);
    const values = (node.widgets ?? []).filter((/** @type {any} */ widget) => widget.type !== "loom-panel");
    found.push([node.id, node.mode, values.map((/** @type {any} */ widget) => String(widget.value))]);
    (node.inputs ?? []).forEach((/** @type {any} */ _, /** @type {number} */ slot) => {
      if (!node.isInputConnected(slot)) return;
      const before = node.getInputNode(slot);
      if (before) visit(before, node.getInputLink(slot));
      else if (node.graph === last.graph) isWhole = false; // the others' come through the node of their subgraph
    });
  };
  visit(last, link);
  return isWhole ? JSON.stringify(found) : null;
}
