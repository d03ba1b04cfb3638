// What there is to know of a file before a run: its size, whether it is transparent, and how many pictures the loader gives.
// @ts-check
import { addressOf } from "../shared/graph.js";
import { GONE, mediaOf } from "../shared/media.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/**
 * @typedef {object} PictureFacts
 * @property {number} width In pixels; 0 for a file that is no picture or is not there.
 * @property {number} height
 * @property {boolean} isTransparent Somewhere, if only a little.
 * @property {boolean} isGone It is not there.
 * @property {number | null} count Pictures in it, more than one for an animation; null where the server does not say.
 */

const LOOKED_AT = 512; // pixels a side: up to 8192, a single transparent one still shows after averaging
const AGAIN = 5000; // milliseconds until a file is read again of which too little could be learned

/** @type {PictureFacts} */
const UNKNOWN = { width: 0, height: 0, isTransparent: false, isGone: false, count: null };

/** @type {Map<string, PictureFacts>} By address. */
const known = new Map();
/** @type {Map<string, Set<() => void>>} Who waits for a file that is read. */
const waiting = new Map();
/** @type {Set<string>} Files to be read again, of which too little could be learned. */
const doubtful = new Set();

/**
 * @param {StoredFile} file
 * @param {() => void} whenKnown Called later where it is not known yet; give the same function each time.
 * @returns {PictureFacts | null}
 */
export function pictureFactsOf(file, whenKnown) {
  const address = addressOf(file);
  waiting.get(address)?.add(whenKnown);
  if (!waiting.has(address) && (!known.has(address) || doubtful.delete(address))) {
    waiting.set(address, new Set([whenKnown]));
    read(file, address)
      .catch(() => UNKNOWN)
      .then((found) => learned(address, found));
  }
  return known.get(address) ?? null;
}

/** @param {string} address @param {PictureFacts} found */
function learned(address, found) {
  known.set(address, found);
  if (found.count === null) setTimeout(() => doubtful.add(address), AGAIN);
  const tell = waiting.get(address) ?? [];
  waiting.delete(address);
  for (const each of tell) each();
}

/** @param {StoredFile} file @param {string} address @returns {Promise<PictureFacts>} */
async function read(file, address) {
  const image = new Image();
  image.crossOrigin = "anonymous"; // where the server is another one than the page's, as in development
  image.src = address;
  const isDecoded = image.decode().then(
    () => true,
    () => false,
  );
  const media = await mediaOf(file);
  if (media === GONE) return { ...UNKNOWN, isGone: true };
  if (!(await isDecoded)) return UNKNOWN;
  const { naturalWidth: width, naturalHeight: height } = image;
  return { width, height, isTransparent: isTransparent(image), isGone: false, count: media && (media.is_image ? 1 : media.num_frames) };
}

/** @param {HTMLImageElement} image */
function isTransparent(image) {
  const scale = Math.min(1, LOOKED_AT / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 3; at < data.length; at += 4) if (data[at] < 255) return true;
  return false;
}
