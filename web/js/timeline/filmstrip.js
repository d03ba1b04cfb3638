// Pictures of a clip along its length, drawn from a muted video that is sought from one to the next; nothing is sent or kept.
// @ts-check
import { make } from "../shared/element.js";
import { addressOf } from "../shared/graph.js";

const PICTURES = 8;
const WIDTH = 96; // pixels of a picture, as drawn
const PATIENCE = 20_000; // milliseconds for one of them

/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/** @typedef {{element: HTMLElement, show: (file: StoredFile | null, isPicture: boolean) => void}} Filmstrip */

/**
 * @param {(seconds: number) => void} onLength Told the length of a clip as the browser knows it; 0 where it cannot play it.
 * @returns {Filmstrip}
 */
export function makeFilmstrip(onLength) {
  const element = make("div.loom-timeline-film", { "aria-hidden": "true" });
  let shown = "";
  let turn = 0;

  /** @param {StoredFile | null} file @param {boolean} isPicture */
  function show(file, isPicture) {
    const address = file ? addressOf(file) : "";
    const key = `${address} ${isPicture}`;
    if (key === shown) return;
    shown = key;
    turn += 1;
    element.replaceChildren();
    if (!file) return;
    const mine = turn;
    const isCurrent = () => mine === turn;
    (isPicture ? drawPicture(element, address) : drawClip(element, address, isCurrent, onLength)).catch(() => {
      if (isCurrent() && !isPicture) onLength(0);
    });
  }
  return { element, show };
}

/** @param {HTMLElement} element @param {string} address */
async function drawPicture(element, address) {
  element.append(make("img", { src: address, alt: "", draggable: "false" }));
}

/**
 * @param {HTMLElement} element
 * @param {string} address
 * @param {() => boolean} isCurrent
 * @param {(seconds: number) => void} onLength
 */
async function drawClip(element, address, isCurrent, onLength) {
  const video = /** @type {HTMLVideoElement} */ (make("video", { preload: "auto", playsinline: true }));
  video.muted = true;
  try {
    video.src = address;
    await told(video, "loadeddata");
    if (!isCurrent()) return;
    onLength(Number.isFinite(video.duration) ? video.duration : 0);
    const height = Math.round((WIDTH * video.videoHeight) / video.videoWidth);
    const canvases = Array.from({ length: PICTURES }, () => make("canvas", { width: WIDTH, height }));
    element.replaceChildren(...canvases);
    for (const [index, canvas] of canvases.entries()) {
      const moment = ((index + 0.5) / PICTURES) * video.duration;
      const isThere = told(video, "seeked");
      video.currentTime = moment;
      await isThere;
      if (!isCurrent()) return;
      /** @type {HTMLCanvasElement} */ (canvas).getContext("2d")?.drawImage(video, 0, 0, WIDTH, height);
    }
  } finally {
    video.removeAttribute("src"); // ends what is still being loaded
    video.load();
  }
}

/** @param {HTMLVideoElement} video @param {string} kind @returns {Promise<void>} Fails where the video does, or takes too long. */
function told(video, kind) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${kind}`)), PATIENCE);
    video.addEventListener(kind, () => (clearTimeout(timer), resolve()), { once: true });
    video.addEventListener("error", () => (clearTimeout(timer), reject(video.error)), { once: true });
  });
}
