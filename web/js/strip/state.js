// All that the strip shows, found anew from the graph each time.
// @ts-check
import { countsOf, pictureOf, takesMany } from "../references/counts.js";
import { gapsOf, nameOf } from "../references/feeds.js";
import { listed } from "../references/numbers.js";
import { lastRun } from "../references/runs.js";
import { isLinked, widgetOf } from "../shared/graph.js";
import { tellGone } from "../shared/media.js";
import { say } from "../shared/text.js";
import { fitting } from "./fitting.js";
import { indicesOf } from "./order.js";

/** @typedef {import("../references/counts.js").Slot} Slot */
/** @typedef {import("./fitting.js").Fitting} Fitting */
/** @typedef {{kind: "warn" | "info", text: string, title?: string}} Notice */
/**
 * @typedef {object} Card One slot.
 * @property {string} name
 * @property {string} label "@Image 1", or a range of them.
 * @property {string} facts Size and place in time.
 * @property {string | null} address Of the picture.
 * @property {import("../references/counts.js").Box | null} box The part of it that is shown.
 * @property {Fitting | null} fitting
 * @property {boolean} isUnseen Its number of references is not known here, and no run tells it.
 * @property {Notice[]} notices
 */
/**
 * @typedef {object} State
 * @property {Card[]} cards
 * @property {(number | null)[]} counts References in each slot.
 * @property {Notice[]} notices About all of them.
 */

/** @param {any} node @param {() => void} whenKnown Called where more is known of a picture. @returns {State} */
export function stateOf(node, whenKnown) {
  const slots = countsOf(node, whenKnown);
  const counts = slots.map((slot) => slot.count);
  const total = Math.max(0, ...slots.flatMap((slot) => listed(slot.numbers)));
  const isTimed = !isLinked(node, "temporal_indices");
  const indices = isTimed ? indicesOf(widgetOf(node, "temporal_indices")?.value ?? "", total, !counts.includes(null)) : null;
  const result = sizeOf(node) ?? lastRun(node)?.size ?? null;
  const fit = String(widgetOf(node, "fit")?.value);
  const isMany = takesMany(node);
  const unseen = slots.map(({ count, isUnseen }) => count === null && isUnseen);
  const cards = slots.map((slot, at) => {
    const { feed, facts, numbers } = slot;
    const isPicture = facts !== null && facts.width > 0;
    const fits = isPicture && !isLinked(node, "fit") ? fitting(facts, result, fit) : null;
    const picture = pictureOf(slot);
    const times = indices ? listed(numbers).map((number) => indices[number - 1]) : [];
    return {
      name: nameOf(feed),
      label: labelOf(numbers),
      facts: [isPicture && `${facts.width} × ${facts.height}`, times.length && say("time {time}", { time: rangeOf(times) })]
        .filter(Boolean)
        .join(" · "),
      ...picture,
      fitting: fits,
      isUnseen: unseen[at],
      notices: [
        ...noticesOfFile(slot, picture.address !== null),
        ...noticesOfFit(fits, fit === "native size" ? null : result),
        ...(isMany ? [] : noticesOfCount(slot, unseen.slice(0, at + 1).includes(true))),
      ],
    };
  });
  return { cards, counts, notices: [...noticesOfGaps(node), ...(isTimed && !indices ? noticesOfTimes() : [])] };
}

/** @param {any} node @returns {import("./fitting.js").Size | null} null where it comes from another node. */
function sizeOf(node) {
  if (isLinked(node, "width") || isLinked(node, "height")) return null;
  return { width: Number(widgetOf(node, "width")?.value), height: Number(widgetOf(node, "height")?.value) };
}

/** How a prompt names what is in a slot. @param {import("../references/numbers.js").Numbers | null} numbers */
export function labelOf(numbers) {
  if (!numbers) return "@Image ?";
  const { first, last } = numbers;
  if (last === null) return `@Image ${first}–?`;
  if (last < first) return say("Off");
  return first === last ? `@Image ${first}` : `@Image ${first}–${last}`;
}

/** @param {number[]} times */
function rangeOf(times) {
  return times.length === 1 ? `${times[0]}` : times.length === 2 ? times.join(", ") : `${times[0]} … ${times.at(-1)}`;
}

/** @param {Slot} slot @param {boolean} isShown @returns {Notice[]} */
function noticesOfFile({ feed: { file, isLoader, isOff, key }, facts }, isShown) {
  if (isOff) return [{ kind: "warn", text: say("Muted or bypassed: the slot is empty in a run.") }];
  const missing = key === null ? "No picture here: it depends on what is outside of this subgraph." : "No picture before it has run.";
  if (!isLoader) return isShown ? [] : [{ kind: "info", text: say(missing) }];
  if (!facts) return [];
  if (file && facts.isGone) return [{ kind: "warn", text: tellGone(file) }];
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

/** @param {Slot} slot @param {boolean} isUnseen This one or one before it is. @returns {Notice[]} */
function noticesOfCount({ count, isBeingRead }, isUnseen) {
  const unknown = isUnseen
    ? "May hold several pictures: numbers from here on are not known inside this subgraph."
    : "May hold several pictures: numbers from here on are known after a run.";
  if (count === null) return isBeingRead ? [] : [{ kind: "info", text: say(unknown) }];
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
