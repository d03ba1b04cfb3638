// All that the strip shows, found anew from the graph each time.
// @ts-check
import { addressOf, isLinked, widgetOf } from "../shared/graph.js";
import { say } from "../shared/text.js";
import { fitting } from "./fitting.js";
import { feedsOf, gapsOf } from "./links.js";
import { indicesOf, numbersOf } from "./order.js";
import { factsOf } from "./pictures.js";
import { lastRun } from "./runs.js";

/** @typedef {import("./links.js").Feed} Feed */
/** @typedef {import("./fitting.js").Fitting} Fitting */
/** @typedef {{kind: "warn" | "info", text: string, title?: string}} Notice */
/**
 * @typedef {object} Card One slot.
 * @property {string} name
 * @property {string} label "@Image 1", or a range of them.
 * @property {string} facts Size and place in time.
 * @property {string | null} address Of the picture.
 * @property {[number, number, number, number] | null} box The part of it that is shown.
 * @property {Fitting | null} fitting
 * @property {Notice[]} notices
 */
/**
 * @typedef {object} State
 * @property {Card[]} cards
 * @property {(number | null)[]} counts References in each slot.
 * @property {Notice[]} notices About all of them.
 */

const MANY = "one reference of many frames";

/** @param {any} node @param {() => void} whenKnown Called where more is known of a picture. @returns {State} */
export function stateOf(node, whenKnown) {
  const feeds = feedsOf(node);
  const run = lastRun(node);
  const isMany = !isLinked(node, "batch") && widgetOf(node, "batch")?.value === MANY;
  const facts = feeds.map(({ file, isLoader }) => (file && isLoader ? factsOf(file, whenKnown) : null));
  const counts = feeds.map(({ key }, at) => (isMany || facts[at]?.isStill ? 1 : (run?.slots.get(key)?.count ?? null)));
  // a file that is still being read is most likely one picture
  const numbers = numbersOf(counts.map((count, at) => count ?? (isBeingRead(feeds[at], facts[at]) ? 1 : null)));
  const total = Math.max(0, ...numbers.map((each) => each?.last ?? 0));
  const isTimed = !isLinked(node, "temporal_indices");
  const indices = isTimed ? indicesOf(widgetOf(node, "temporal_indices")?.value ?? "", total, !counts.includes(null)) : null;
  const result = sizeOf(node) ?? run?.size ?? null;
  const fit = String(widgetOf(node, "fit")?.value);
  const cards = feeds.map((feed, at) => {
    const own = facts[at];
    const isPicture = own !== null && own.width > 0;
    const fits = isPicture && !isLinked(node, "fit") ? fitting(own, result, fit) : null;
    const mine = numbers[at];
    const picture = pictureOf(feed, own, run?.slots.get(feed.key)?.shown ?? null);
    const times = mine && indices ? indices.slice(mine.first - 1, mine.last) : [];
    return {
      name: nameOf(feed),
      label: labelOf(mine),
      facts: [isPicture && `${own.width} × ${own.height}`, times.length && say("time {time}", { time: rangeOf(times) })]
        .filter(Boolean)
        .join(" · "),
      ...picture,
      fitting: fits,
      notices: [
        ...noticesOfFile(feed, own, picture.address !== null),
        ...noticesOfFit(fits, fit === "native size" ? null : result),
        ...(isMany || isBeingRead(feed, own) ? [] : noticesOfCount(counts[at], own?.isStill === false)),
      ],
    };
  });
  return { cards, counts, notices: [...noticesOfGaps(node), ...(isTimed && !indices ? noticesOfTimes() : [])] };
}

/** The file is still being read. @param {Feed} feed @param {import("./pictures.js").Facts | null} facts */
function isBeingRead({ isLoader, file }, facts) {
  return isLoader && file !== null && facts === null;
}

/** @param {any} node @returns {import("./fitting.js").Size | null} null where it comes from another node. */
function sizeOf(node) {
  if (isLinked(node, "width") || isLinked(node, "height")) return null;
  return { width: Number(widgetOf(node, "width")?.value), height: Number(widgetOf(node, "height")?.value) };
}

/** @param {Feed} feed */
function nameOf({ source, outside, file, isLoader }) {
  if (!source) return outside || say("From outside of this subgraph");
  const isTitled = source.title && source.title !== source.constructor.title && !/^@image\s*\d+$/i.test(source.title.trim());
  return isLoader && file && !isTitled ? file.filename : source.title;
}

/** @param {import("./order.js").Numbers | null} numbers */
function labelOf(numbers) {
  if (!numbers) return "@Image ?";
  return numbers.first === numbers.last ? `@Image ${numbers.first}` : `@Image ${numbers.first}–${numbers.last}`;
}

/** @param {number[]} times */
function rangeOf(times) {
  return times.length === 1 ? `${times[0]}` : times.length === 2 ? times.join(", ") : `${times[0]} … ${times.at(-1)}`;
}

/**
 * What a card shows: the file as the loader gives it, without its transparency, or how it went in.
 *
 * @param {Feed} feed @param {import("./pictures.js").Facts | null} facts @param {import("./runs.js").Shown | null} shown
 * @returns {{address: string | null, box: [number, number, number, number] | null}}
 */
function pictureOf({ file, isLoader }, facts, shown) {
  if (shown && !facts?.width) return { address: addressOf(shown.strip), box: shown.boxes[0] };
  if (!file || (isLoader && !facts?.width)) return { address: null, box: null };
  return { address: addressOf(file) + (facts?.isTransparent ? "&channel=rgb" : ""), box: null };
}

/** @param {Feed} feed @param {import("./pictures.js").Facts | null} facts @param {boolean} isShown @returns {Notice[]} */
function noticesOfFile({ isLoader }, facts, isShown) {
  if (!isLoader) return isShown ? [] : [{ kind: "info", text: say("No picture before it has run.") }];
  if (!facts) return [];
  if (!facts.width) return [{ kind: "warn", text: say("This file cannot be shown.") }];
  if (!facts.isTransparent) return [];
  return [
    {
      kind: "warn",
      text: say("Transparency is left out by the loader: the colours below it are used."),
      title: say("For white instead, connect both outputs of the loader to Join Image with Alpha, and that to this slot."),
    },
  ];
}

/** @param {Fitting | null} fits @param {import("./fitting.js").Size | null} result @returns {Notice[]} */
function noticesOfFit(fits, result) {
  /** @type {Notice[]} */
  const notices = [];
  if (fits && result && fits.scale > 1) {
    const values = { width: result.width, height: result.height, times: Math.round(fits.scale * 10) / 10 };
    notices.push({ kind: "warn", text: say("Smaller than {width} × {height}: enlarged {times} times.", values) });
  }
  const percent = fits ? Math.round(100 * Math.max(fits.sides, fits.ends)) : 0;
  if (fits && percent >= 1) {
    const sentence = fits.sides > fits.ends ? "{percent} % is cut off, left and right." : "{percent} % is cut off, top and bottom.";
    notices.push({ kind: "warn", text: say(sentence, { percent }), title: say("contain keeps the whole picture, with black bars.") });
  }
  return notices;
}

/** @param {number | null} count @param {boolean} isMoving @returns {Notice[]} */
function noticesOfCount(count, isMoving) {
  if (count === null) {
    const text = isMoving
      ? say("An animation: each frame is a reference. Numbers from here on are known after a run.")
      : say("May hold several pictures: numbers from here on are known after a run.");
    return [{ kind: "info", text }];
  }
  return count > 1 ? [{ kind: "info", text: say("{count} pictures, each a reference of its own.", { count }) }] : [];
}

/** @param {any} node @returns {Notice[]} */
function noticesOfGaps(node) {
  const slots = gapsOf(node).join(", ");
  return slots ? [{ kind: "warn", text: say("{slots} is empty: connect a picture, since numbers count the slots.", { slots }) }] : [];
}

/** @returns {Notice[]} */
function noticesOfTimes() {
  return [{ kind: "warn", text: say("temporal_indices does not fit: it needs one number below 0 for each reference, none twice.") }];
}
