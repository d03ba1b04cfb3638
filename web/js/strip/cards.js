// How one reference looks in the strip.
// @ts-check
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
    { type: "button", "aria-pressed": "false", "aria-describedby": hint, "aria-keyshortcuts": "Alt+ArrowUp Alt+ArrowDown" },
    make("span.loom-strip-grip", { "aria-hidden": "true" }),
    pictureElement(card),
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
      { type: "button", title: label, "aria-label": `${label}: ${card.label}`, disabled: to < 0 || to > last, onclick: () => move(at, to) },
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
function pictureElement({ address, box, fitting }) {
  const frame = make("span.loom-strip-frame");
  if (!address) {
    frame.append(make("i.pi.pi-image", { "aria-hidden": "true" }));
    return frame;
  }
  const image = /** @type {HTMLImageElement} */ (make("img", { src: address, alt: "", draggable: "false", decoding: "sync" }));
  const sheet = make("span.loom-strip-sheet", {}, image);
  frame.append(sheet);
  const place = () => (box ? placePart(sheet, image, box) : placeWhole(sheet, image.naturalWidth, image.naturalHeight));
  if (image.complete && image.naturalWidth) place();
  image.addEventListener("load", place);
  if (fitting && !box) {
    const kept = make("span.loom-strip-kept");
    kept.style.inset = `${fitting.ends * 50}% ${fitting.sides * 50}%`;
    if (fitting.sides + fitting.ends > 0.005) sheet.append(kept);
  }
  return frame;
}

/** As large as the frame allows. @param {HTMLElement} sheet @param {number} width @param {number} height */
function placeWhole(sheet, width, height) {
  const longer = Math.max(width, height);
  sheet.style.width = `${(100 * width) / longer}%`;
  sheet.style.height = `${(100 * height) / longer}%`;
}

/** @param {HTMLElement} sheet @param {HTMLImageElement} image @param {[number, number, number, number]} box */
function placePart(sheet, image, [left, top, width, height]) {
  placeWhole(sheet, width, height);
  Object.assign(image.style, {
    width: `${(100 * image.naturalWidth) / width}%`,
    height: `${(100 * image.naturalHeight) / height}%`,
    left: `${(-100 * left) / width}%`,
    top: `${(-100 * top) / height}%`,
  });
}
