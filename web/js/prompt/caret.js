// The caret and the selection of the editor, as places in the plain text.
// @ts-check
import { offsetAt, placeAt } from "./places.js";

/** @param {HTMLElement} root @returns {{start: number, end: number} | null} What is selected; null where that is not in the editor. */
export function selectionIn(root) {
  const selection = document.getSelection();
  if (!selection?.rangeCount) return null;
  return rangeIn(root, selection.getRangeAt(0));
}

/** @param {HTMLElement} root @param {AbstractRange} range @returns {{start: number, end: number} | null} */
export function rangeIn(root, range) {
  const start = offsetAt(root, range.startContainer, range.startOffset);
  const end = offsetAt(root, range.endContainer, range.endOffset);
  return start === null || end === null ? null : { start, end };
}

/** @param {HTMLElement} root @param {number} start @param {number} end */
export function select(root, start, end) {
  const [from, to] = [placeAt(root, start), placeAt(root, end)];
  document.getSelection()?.setBaseAndExtent(from.node, from.offset, to.node, to.offset);
}

/** Where a place of the text is in the window. @param {HTMLElement} root @param {number} offset @returns {DOMRect} */
export function rectAt(root, offset) {
  const place = placeAt(root, offset);
  const range = document.createRange();
  range.setStart(place.node, place.offset);
  const rect = range.getClientRects()[0] ?? range.getBoundingClientRect();
  if (rect.height) return rect;
  // beside a chip, or on an empty line, a range has no box of its own
  const before = place.node === root ? root.childNodes[place.offset - 1] : null;
  if (before instanceof HTMLElement) {
    const box = before.getBoundingClientRect();
    return new DOMRect(box.right, box.top, 0, box.height);
  }
  const last = root.lastElementChild?.getBoundingClientRect();
  return last?.height ? last : root.getBoundingClientRect();
}

/** Scroll the editor, and nothing around it, to the caret. @param {HTMLElement} root @param {number} offset */
export function reveal(root, offset) {
  if (root.scrollHeight <= root.clientHeight) return;
  const [box, caret] = [root.getBoundingClientRect(), rectAt(root, offset)];
  const zoom = box.height / root.offsetHeight || 1; // of the canvas
  if (caret.bottom > box.bottom) root.scrollTop += (caret.bottom - box.bottom) / zoom + caret.height / zoom / 2;
  if (caret.top < box.top) root.scrollTop -= (box.top - caret.top) / zoom + caret.height / zoom / 2;
}
