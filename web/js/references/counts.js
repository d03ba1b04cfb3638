// The references that Reference Slots gives, as far as they are known before a run. The strip and the prompt editor both ask
// this, so that a number means the same picture in either.
// @ts-check
import { addressOf, setting } from "../shared/graph.js";
import { feedsOf } from "./feeds.js";
import { countOf, numbersOf } from "./numbers.js";
import { pictureFactsOf } from "./pictures.js";
import { batchOf, lastRun } from "./runs.js";

/** @typedef {[number, number, number, number]} Box Left, top, width and height in pixels. */
/**
 * @typedef {object} Slot One slot with a link.
 * @property {import("./feeds.js").Feed} feed
 * @property {import("./pictures.js").PictureFacts | null} facts Of the file that is loaded; null for none, or while it is read.
 * @property {boolean} isBeingRead
 * @property {number | null} count References in it; null where that is not known before a run, or yet.
 * @property {boolean} isUnseen Where the count is not known, no run tells it: it depends on what lies outside of this subgraph.
 * @property {import("./numbers.js").Numbers | null} numbers
 * @property {import("./runs.js").Shown | null} shown How they went in.
 */

const MANY = "one reference of many frames"; // of nodes/adapter/media/reference_slots.py
const PICTURE = /\.(png|jpe?g|bmp|webp|gif|avif|tiff?)$/i;

/**
 * @param {any} node Reference Slots.
 * @param {() => void} whenKnown Called later where a file is read; give the same function each time.
 * @returns {Slot[]} In the order of the slots.
 */
export function countsOf(node, whenKnown) {
  const run = lastRun(node);
  const batch = batchOf(node);
  const isSameBatch = batch !== null && run?.batch === batch;
  const isMany = takesMany(node);
  const slots = feedsOf(node).map((feed) => {
    const facts = feed.isLoader && feed.file ? pictureFactsOf(feed.file, whenKnown) : null;
    const pictures = facts?.isGone ? 1 : (facts?.count ?? null); // what takes its place is most likely one picture
    const ran = feed.key === null ? null : (run?.slots.get(feed.key) ?? null);
    return {
      feed,
      facts,
      isBeingRead: feed.isLoader && feed.file !== null && facts === null,
      isUnseen: feed.key === null || batch === null,
      count: countOf({ isOff: feed.isOff, isMany, pictures, ran: isSameBatch ? (ran?.count ?? null) : null }),
      shown: ran?.shown ?? null,
    };
  });
  // a file that is still being read is most likely one picture
  const numbers = numbersOf(slots.map(({ count, isBeingRead }) => count ?? (isBeingRead ? 1 : null)));
  return slots.map((slot, at) => ({ ...slot, numbers: numbers[at] }));
}

/**
 * Whether each slot is one reference, however many frames it has.
 *
 * @param {any} node
 * @returns {boolean | null} null where only a run can tell.
 */
export function takesMany(node) {
  const { value, isLinked } = setting(node, "batch");
  return isLinked && value === undefined ? null : value === MANY;
}

/**
 * What shows a reference: the file as it is loaded, or how it went in.
 *
 * @param {Slot} slot
 * @param {number} [at] Which of the slot's references, from 0.
 * @param {{isPreview?: boolean}} [options] A preview is smaller to send.
 * @returns {{address: string | null, box: Box | null}} `box` is the part of the picture to be shown, where that is not all.
 */
export function pictureOf({ feed: { file, isLoader }, facts, shown }, at = 0, options = {}) {
  const box = shown?.boxes[at];
  if (shown && box && (at > 0 || !facts?.width)) return { address: addressOf(shown.strip), box };
  if (!file || !PICTURE.test(file.filename) || (isLoader && !facts?.width)) return { address: null, box: null };
  const isOpaque = facts?.isTransparent && !options.isPreview; // the loader leaves transparency out
  return { address: addressOf(file, options) + (isOpaque ? "&channel=rgb" : ""), box: null };
}
