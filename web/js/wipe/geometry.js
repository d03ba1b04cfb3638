// Where pictures lie on a screen.
// @ts-check

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

/**
 * The largest box of a picture's shape inside another, in its middle.
 *
 * @param {{width: number, height: number}} picture
 * @param {Box} box
 * @returns {Box}
 */
export function contained(picture, box) {
  return placed(picture, box, Math.min);
}

/**
 * The smallest box of a picture's shape that fills another; it reaches over two of its edges.
 *
 * @param {{width: number, height: number}} picture
 * @param {Box} box
 * @returns {Box}
 */
export function covering(picture, box) {
  return placed(picture, box, Math.max);
}

/**
 * @param {{width: number, height: number}} picture
 * @param {Box} box
 * @param {(...factors: number[]) => number} choose
 * @returns {Box}
 */
function placed(picture, box, choose) {
  const factor = choose(box.width / picture.width, box.height / picture.height);
  const [width, height] = [picture.width * factor, picture.height * factor];
  return { x: box.x + (box.width - width) / 2, y: box.y + (box.height - height) / 2, width, height };
}

/**
 * Where a pointer is in a box, from 0 at its left edge to 1 at its right.
 *
 * @param {number} x
 * @param {Box} box
 */
export function shareAt(x, box) {
  return Math.min(Math.max((x - box.x) / box.width, 0), 1);
}
