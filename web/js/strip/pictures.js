// What there is to know of a file before a run: its size, whether it is transparent, and whether it is one picture.
// @ts-check
import { addressOf } from "../shared/graph.js";
import { isStill } from "./frames.js";

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/**
 * @typedef {object} Facts
 * @property {number} width In pixels; 0 for a file that is no picture or is not there.
 * @property {number} height
 * @property {boolean} isTransparent Somewhere, if only a little.
 * @property {boolean | null} isStill null where it cannot be told.
 */

const HEAD = 65536; // bytes; what says that a picture moves is at the beginning
const LOOKED_AT = 512; // pixels a side: up to 8192, a single transparent one still shows after averaging

/** @type {Map<string, Facts | null>} By address; null while it is read. */
const known = new Map();
/** @type {Map<string, Set<() => void>>} Who waits for a file that is read. */
const waiting = new Map();

/**
 * @param {StoredFile} file
 * @param {() => void} whenKnown Called later where it is not known yet.
 * @returns {Facts | null}
 */
export function factsOf(file, whenKnown) {
  const address = addressOf(file);
  const facts = known.get(address);
  if (facts) return facts;
  waiting.get(address)?.add(whenKnown);
  if (facts === null) return null;
  known.set(address, null);
  waiting.set(address, new Set([whenKnown]));
  read(address)
    .catch(() => ({ width: 0, height: 0, isTransparent: false, isStill: null }))
    .then((found) => {
      known.set(address, found);
      for (const tell of waiting.get(address) ?? []) tell();
      waiting.delete(address);
    });
  return null;
}

/** @param {string} address @returns {Promise<Facts>} */
async function read(address) {
  const image = new Image();
  image.crossOrigin = "anonymous"; // where the server is another one than the page's, as in development
  image.src = address;
  const [still] = await Promise.all([fetchHead(address).then(isStill), image.decode()]);
  const { naturalWidth: width, naturalHeight: height } = image;
  return { width, height, isTransparent: isTransparent(image), isStill: still };
}

/** @param {string} address @returns {Promise<Uint8Array>} */
async function fetchHead(address) {
  const answer = await fetch(address, { headers: { Range: `bytes=0-${HEAD - 1}` } });
  if (!answer.ok) throw new Error(`${answer.status} for ${address}`);
  return new Uint8Array(await answer.arrayBuffer());
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
