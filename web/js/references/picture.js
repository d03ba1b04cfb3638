// A picture as an element, whole or a part of it.
// @ts-check
import { make } from "../shared/element.js";

/** @typedef {import("./counts.js").Box} Box */

/**
 * As large as what it stands in allows.
 *
 * @param {string} address
 * @param {object} how
 * @param {Box | null} how.box The part that is shown; null for all of it.
 * @param {Element} how.instead Takes its place where the file is gone.
 * @param {boolean} [how.isFilling] Its shorter side is as long as the room allows, and the longer one longer.
 * @returns {HTMLElement}
 */
export function pictureElement(address, { box, instead, isFilling = false }) {
  const image = /** @type {HTMLImageElement} */ (make("img", { src: address, alt: "", draggable: "false", decoding: "sync" }));
  const sheet = make("span.loom-sheet", {}, image);
  const place = () => {
    const [left, top, width, height] = box ?? [0, 0, image.naturalWidth, image.naturalHeight];
    const room = isFilling ? Math.min(width, height) : Math.max(width, height);
    Object.assign(sheet.style, { width: percent(width, room), height: percent(height, room) });
    Object.assign(image.style, { width: percent(image.naturalWidth, width), height: percent(image.naturalHeight, height) });
    Object.assign(image.style, { left: percent(-left, width), top: percent(-top, height) });
  };
  if (image.complete && image.naturalWidth) place();
  image.addEventListener("load", place);
  image.addEventListener("error", () => sheet.replaceWith(instead));
  return sheet;
}

/** @param {number} part @param {number} whole */
function percent(part, whole) {
  return `${(100 * part) / whole}%`;
}
