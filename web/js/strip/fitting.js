// What happens to a picture on its way to the size of the result. As in loom_core/media/resize.py and geometry.py.
// @ts-check

/** @typedef {{width: number, height: number}} Size In pixels. */
/**
 * @typedef {object} Fitting
 * @property {number} scale Above 1 the picture is enlarged.
 * @property {number} sides Part of the picture's width that is cut off, half of it on either side.
 * @property {number} ends The same of its height, at the top and the bottom.
 */

const MULTIPLE = 32;
const MOST_PIXELS = 960 * 960;

/**
 * @param {Size} picture
 * @param {Size | null} result null where it is not known.
 * @param {string} fit One of the node's: cover, contain or native size.
 * @returns {Fitting | null} null where it depends on what is not known.
 */
export function fitting(picture, result, fit) {
  const target = fit === "native size" ? nativeSize(picture) : result;
  if (!target) return null;
  const scales = [target.width / picture.width, target.height / picture.height];
  if (fit === "contain") return { scale: Math.min(...scales), sides: 0, ends: 0 };
  const scale = Math.max(...scales);
  return { scale, sides: 1 - scales[0] / scale, ends: 1 - scales[1] / scale };
}

/**
 * The size nearest to a picture's own that the model can have.
 *
 * @param {Size} picture
 * @returns {Size}
 */
export function nativeSize({ width, height }) {
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const nearest = (/** @type {number} */ side) => Math.max(1, Math.floor((side * scale) / MULTIPLE + 0.5)) * MULTIPLE;
  return { width: nearest(width), height: nearest(height) };
}
