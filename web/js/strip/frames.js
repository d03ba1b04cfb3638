// How many pictures a file holds, from its first bytes.
// @ts-check

const PNG = "\x89PNG\r\n\x1a\n";

/**
 * Whether a file is one picture.
 *
 * @param {Uint8Array} bytes The beginning of the file.
 * @returns {boolean | null} false for an animation; null where that cannot be told.
 */
export function isStill(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return true; // JPEG
  if (textAt(bytes, 0, 2) === "BM") return true;
  if (textAt(bytes, 0, 8) === PNG) return isStillPng(bytes);
  if (textAt(bytes, 0, 4) === "RIFF" && textAt(bytes, 8, 4) === "WEBP")
    return textAt(bytes, 12, 4) !== "VP8X" || (bytes[20] & 2) === 0;
  return null;
}

/** An animation says so (acTL) before its first picture (IDAT). @param {Uint8Array} bytes */
function isStillPng(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = PNG.length; at + 8 <= bytes.length; at += 12 + view.getUint32(at)) {
    const kind = textAt(bytes, at + 4, 4);
    if (kind === "acTL") return false;
    if (kind === "IDAT") return true;
  }
  return null;
}

/** @param {Uint8Array} bytes @param {number} start @param {number} length */
function textAt(bytes, start, length) {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}
