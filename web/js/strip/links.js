// What is connected to the slots, the exchange of links, and the prompts that name the references.
// @ts-check
import { mentionsOf, renumbered } from "../prompt/mentions.js";
import { feedOf, filesOf, isLinked, setWidget, slotsOf, targets, widgetOf } from "../shared/graph.js";
import { say } from "../shared/text.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/**
 * @typedef {object} Feed What is connected to one slot.
 * @property {string} slot Such as "image_1".
 * @property {any} source The node, seen through reroutes; null where it lies outside of this subgraph.
 * @property {string} outside What the subgraph calls it, where it does.
 * @property {string} key Of that output, the same as long as nothing before it changes.
 * @property {StoredFile | null} file The picture that it loads, or has last shown.
 * @property {boolean} isLoader It is ComfyUI's own loader of one file.
 */

const GROUP = "images";
const ENCODE = "LoomVideoDeepstackEncode";
const LOADERS = ["LoadImage", "LoadImageOutput"];

/** @param {any} node @returns {Feed[]} In the order of the slots; empty ones are left out. */
export function feedsOf(node) {
  return connectedSlots(node).map(({ name, index }) => {
    const { node: source, link } = feedOf(node, index);
    const isLoader = LOADERS.includes(source?.comfyClass);
    return {
      slot: name.slice(GROUP.length + 1),
      source,
      outside: source ? "" : (node.graph.inputNode?.slots[link?.origin_slot]?.displayName ?? ""),
      key: `${link?.origin_slot} ${upstream(source)}`,
      file: source ? (filesOf(source)[0] ?? null) : null,
      isLoader,
    };
  });
}

/** Slots before the last filled one that are empty. @param {any} node @returns {string[]} */
export function gapsOf(node) {
  const slots = slotsOf(node, GROUP);
  const last = slots.map((slot) => slot.isConnected).lastIndexOf(true);
  const before = slots.slice(0, Math.max(last, 0));
  return before.filter((slot) => !slot.isConnected).map((slot) => slot.name.slice(GROUP.length + 1));
}

/** @param {any} node */
function connectedSlots(node) {
  return slotsOf(node, GROUP).filter((slot) => slot.isConnected);
}

/** Everything that a node's output depends on, in one text. @param {any} last */
function upstream(last) {
  /** @type {any[]} */
  const found = [];
  const seen = new Set();
  const visit = (/** @type {any} */ node) => {
    if (!node || seen.has(node)) return;
    seen.add(node);
    const values = (node.widgets ?? []).filter((/** @type {any} */ widget) => widget.type !== "loom-panel");
    found.push([node.id, node.mode, values.map((/** @type {any} */ widget) => String(widget.value))]);
    (node.inputs ?? []).forEach((/** @type {any} */ _, /** @type {number} */ slot) => {
      if (node.isInputConnected(slot)) visit(node.getInputNode(slot));
    });
  };
  visit(last);
  return JSON.stringify(found);
}

/**
 * Connect what is in the slots in another order. No slot is empty in between, so that none is taken away or added.
 *
 * @param {any} node
 * @param {number[]} places `places[i]` is the place, from 0, at which was what comes to place i.
 */
export function exchange(node, places) {
  const slots = connectedSlots(node);
  const links = slots.map((slot) => {
    const { origin_id, origin_slot, parentId } = node.getInputLink(slot.index);
    return { origin_id, origin_slot, parentId };
  });
  places.forEach((place, at) => {
    if (place === at) return;
    const { origin_id, origin_slot, parentId } = links[place];
    const from = node.graph.getNodeById(origin_id);
    if (from) from.connect(origin_slot, node, slots[at].index, parentId);
    else node.graph.inputNode.slots[origin_slot].connect(node.inputs[slots[at].index], node, parentId);
  });
}

/**
 * Renumber the mentions in all prompts that these references go to.
 *
 * @param {any} node
 * @param {number[]} order As for `renumbered`.
 * @returns {{written: number, left: string[]}} Number of prompts that changed, and titles of nodes whose prompt is linked or
 *     out of reach.
 */
export function rewrite(node, order) {
  let written = 0;
  /** @type {string[]} */
  const left = [];
  if (leavesSubgraph(node)) left.push(say("nodes outside of this subgraph"));
  for (const target of new Set(targets(node, 0))) {
    const text = target.comfyClass === ENCODE && !isLinked(target, "prompt") ? widgetOf(target, "prompt")?.value : null;
    if (typeof text !== "string") {
      if (target.comfyClass === ENCODE || target.isSubgraphNode?.()) left.push(target.title);
      continue;
    }
    const now = renumbered(text, order);
    if (now === text) continue;
    setWidget(target, "prompt", now);
    written += 1;
  }
  return { written, left };
}

/** @param {any} node */
function leavesSubgraph(node) {
  const links = (node.graph.outputNode?.slots ?? []).flatMap((/** @type {any} */ slot) => slot.getLinks?.() ?? []);
  return links.some((/** @type {any} */ link) => link.origin_id === node.id && link.origin_slot === 0);
}

/**
 * Renumber the titles of what is connected, where they name a number, as in the bundled workflows.
 *
 * @param {any} node
 * @param {number[]} order As for `renumbered`.
 */
export function retitle(node, order) {
  for (const source of new Set(feedsOf(node).map((feed) => feed.source)))
    if (source && mentionsOf(source.title ?? "").length) source.title = renumbered(source.title, order);
}
