// The references that an encode node gets, found through what is connected.
// @ts-check
import { countsOf, pictureOf } from "../references/counts.js";
import { nameOf } from "../references/feeds.js";
import { listed } from "../references/numbers.js";
import { feedOf } from "../shared/graph.js";

/** @typedef {import("../references/counts.js").Box} Box */
/** @typedef {{number: number, name: string, address: string | null, box: Box | null}} Reference `box` is the part of the picture that is shown. */
/**
 * @typedef {object} Survey
 * @property {Reference[]} references Those whose numbers are known, as the strip of Reference Slots shows them.
 * @property {boolean} isCounted These are all. Otherwise there may be more, so that a mention must not be called wrong: a slot may
 *     hold a batch, and references may come from a node that is not ours or from outside of a subgraph.
 */

const SLOTS = "LoomVideoReferenceSlots";

/**
 * @param {any} node Deepstack Encode.
 * @param {() => void} whenKnown Called later where a file is read; give the same function each time.
 * @returns {Survey}
 */
export function surveyOf(node, whenKnown) {
  const { node: from, link } = feedOf(node, node.findInputSlot("references"));
  if (from?.comfyClass !== SLOTS) return { references: [], isCounted: !link };
  const slots = countsOf(from, whenKnown);
  return { references: slots.flatMap(referencesIn), isCounted: slots.every((slot) => slot.count !== null) };
}

/** @param {import("../references/counts.js").Slot} slot @returns {Reference[]} */
function referencesIn(slot) {
  const { length } = listed(slot.numbers);
  return listed(slot.numbers).map((number, at) => ({
    number,
    name: nameOf(slot.feed) + (length > 1 ? ` · ${at + 1}/${length}` : ""),
    ...pictureOf(slot, at, { isPreview: true }),
  }));
}
