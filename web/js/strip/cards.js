// How one reference looks in the strip.
// @ts-check
import { pictureElement } from "../references/picture.js";
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";

/** @typedef {import("./state.js").Card} Card */
/** @typedef {import("./state.js").Notice} Notice */

/**
 * @param {Card} card
 * @param {{at: number, last: number, hint: string, move: (from: number, to: number) => void}} place `hint` is the id of an
 *     element that says which keys move a card.
 * @returns {HTMLElement} A list item, whose button is the card.
 */
export function cardElement(card, { at, last, hint, move }) {
  const button = make(
    "button.loom-strip-card",
    { type: "button", "aria-pressed": "false", "aria-describedby": hint },
    make("span.loom-strip-grip", { "aria-hidden": "true" }),
    frameElement(card),
    make(
      "span.loom-strip-text",
      {},
      make("span.loom-strip-title", {}, make("b", {}, card.label), " ", make("span.loom-strip-name", { title: card.name }, card.name)),
      card.facts && make("span.loom-strip-facts", {}, card.facts),
      ...card.notices.map((notice) => noticeElement(notice)),
    ),
  );
  const arrow = (/** @type {number} */ to, /** @type {string} */ icon, /** @type {string} */ label) =>
    make(
      "button.loom-strip-move",
      { type: "button", title: `${label}: ${card.label}`, disabled: to < 0 || to > last, onclick: () => move(at, to) },
      make(`i.pi.pi-chevron-${icon}`, { "aria-hidden": "true" }),
    );
  return make(
    "li.loom-strip-item",
    {},
    button,
    last > 0 && make("span.loom-strip-moves", {}, arrow(at - 1, "up", say("Earlier")), arrow(at + 1, "down", say("Later"))),
  );
}

/** @param {Notice} notice @param {string} [tag] */
export function noticeElement({ kind, text, title }, tag = "span") {
  const icon = kind === "warn" ? "i.pi.pi-exclamation-triangle" : "i.pi.pi-info-circle";
  return make(`${tag}.loom-strip-notice.loom-strip-${kind}`, { title }, make(icon, { "aria-hidden": "true" }), make("span", {}, text));
}

/** The picture, with what is cut off in the dark. @param {Card} card */
function frameElement({ address, box, fitting }) {
  const icon = make("i.pi.pi-image", { "aria-hidden": "true" });
  if (!address) return make("span.loom-strip-frame", {}, icon);
  const sheet = pictureElement(address, { box, instead: icon });
  if (fitting && !box && fitting.sides + fitting.ends > 0.005) {
    const kept = make("span.loom-strip-kept");
    kept.style.inset = `${fitting.ends * 50}% ${fitting.sides * 50}%`;
    sheet.append(kept);
  }
  return make("span.loom-strip-frame", {}, sheet);
}
