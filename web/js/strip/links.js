// The exchange of links, and the prompts that name the references.
// @ts-check
import { mentionsOf, renumbered } from "../prompt/mentions.js";
import { connectedSlots, feedsOf } from "../references/feeds.js";
import { isLinked, setWidget, targets, widgetOf } from "../shared/graph.js";
import { say } from "../shared/text.js";

const ENCODE = "LoomVideoDeepstackEncode";

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
