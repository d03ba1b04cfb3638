// A picture or a clip whose frames can be asked for by number.
// @ts-check
import { api } from "../../../../scripts/api.js";
import { queryOf } from "../shared/files.js";
import { addressOf } from "../shared/graph.js";
import { frameAt, middle } from "./timing.js";

/** @typedef {import("./find.js").StoredFile} StoredFile */

const KEPT = 8; // frames of a running clip that wait for those of the other
const LATE = 150; // milliseconds after which a frame that was sought is taken as it is

/** The file is not there any more. */
export class Gone extends Error {}

/**
 * Open a file of the server.
 *
 * @param {StoredFile} file
 * @returns {Promise<Still | Clip>} Once its first frame can be drawn. Fails if the browser cannot show it, or it is `Gone`.
 */
export async function opened(file) {
  const answer = await api.fetchApi(`/loomvideo/media?${queryOf(file)}`);
  if (answer.status === 404) throw new Gone(file.filename);
  const facts = await answer.json();
  if (!answer.ok) throw new Error(facts.error ?? file.filename);
  const made = facts.is_image ? new Still(file) : new Clip(file, facts);
  try {
    await made.ready;
  } catch (error) {
    made.close();
    throw error;
  }
  return made;
}

/** The address of a file; a name that was given again, after the first file was deleted, is another file. @param {StoredFile} file */
function freshOf(file) {
  return file.run ? `${addressOf(file)}&run=${file.run}` : addressOf(file);
}

/** A picture: the same at every number. */
export class Still {
  frames = 1;
  fps = 1;
  index = 0;
  time = 0;

  /** @param {StoredFile} file */
  constructor(file) {
    this.picture = new Image();
    this.picture.src = freshOf(file);
    this.ready = this.picture.decode();
  }
  get width() {
    return this.picture.naturalWidth;
  }
  get height() {
    return this.picture.naturalHeight;
  }
  async seek() {}
  play() {}
  pause() {}
  forget() {}
  close() {}
  /** @param {number} _ @returns {CanvasImageSource | null} */
  frame(_) {
    return this.picture;
  }
}

/** A clip. Frames that it shows are copied, since the other clip may show its own a moment later. */
export class Clip {
  /** Number of the frame that the player shows, and the seconds at which it begins. */
  index = -1;
  time = 0;
  /** Called after each frame, and at the end. @type {() => void} */
  onframe = () => {};
  /** Largest width at which a frame is needed, in pixels. */
  widest = 640;
  /** @type {Map<number, HTMLCanvasElement>} */
  #taken = new Map();
  /** @type {HTMLCanvasElement[]} */
  #spare = [];

  /** @param {StoredFile} file @param {{fps: number, num_frames: number}} facts */
  constructor(file, facts) {
    this.fps = facts.fps;
    this.frames = facts.num_frames;
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, preload: "auto", src: freshOf(file) });
    this.ready = new Promise((resolve, reject) => {
      this.video.addEventListener("loadeddata", resolve, { once: true });
      this.video.addEventListener("error", () => reject(new Error(file.filename)), { once: true });
    });
    this.video.addEventListener("ended", () => this.onframe());
    this.#follow();
  }
  get width() {
    return this.video.videoWidth;
  }
  get height() {
    return this.video.videoHeight;
  }
  get isOver() {
    return this.video.ended;
  }

  #follow() {
    this.video.requestVideoFrameCallback((_, { mediaTime }) => {
      this.#takeAt(mediaTime);
      this.#follow();
      this.onframe();
    });
  }

  /**
   * Copy what the player shows. On a busy machine that is already the next frame, which only the frame itself tells; it
   * can be asked where the page is secure (https, or this machine).
   *
   * @param {number} seconds At which the frame began that was announced.
   */
  #takeAt(seconds) {
    const picture = "VideoFrame" in window ? new VideoFrame(this.video) : null;
    this.time = picture ? picture.timestamp / 1e6 : seconds;
    this.index = frameAt(this.time, this.fps);
    this.#take(this.index, picture ?? this.video);
    picture?.close();
  }

  /** @param {number} index @param {CanvasImageSource} [picture] */
  #take(index, picture = this.video) {
    const canvas = this.#taken.get(index) ?? this.#spare.pop() ?? document.createElement("canvas");
    const factor = Math.min(1, this.widest / this.width);
    canvas.width = Math.max(1, Math.round(this.width * factor));
    canvas.height = Math.max(1, Math.round(this.height * factor));
    canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
    this.#taken.delete(index); // the newest is last
    this.#taken.set(index, canvas);
    while (this.#taken.size > KEPT) {
      const [oldest, picture] = /** @type {[number, HTMLCanvasElement]} */ (this.#taken.entries().next().value);
      this.#taken.delete(oldest);
      this.#spare.push(picture);
    }
  }

  /** @param {number} index @returns {CanvasImageSource | null} The frame, if it was shown lately. */
  frame(index) {
    return this.#taken.get(index) ?? null;
  }

  /** Forget the frames that were shown, as after a change of `widest`. */
  forget() {
    this.#spare.push(...this.#taken.values());
    this.#taken.clear();
    this.index = -1;
  }

  /** Show a frame. @param {number} index */
  async seek(index) {
    if (this.index === index && this.frame(index)) return;
    const { video } = this;
    const sought = new Promise((resolve) => {
      for (const kind of ["seeked", "error"]) video.addEventListener(kind, resolve, { once: true });
    });
    video.currentTime = middle(index, this.fps);
    await sought;
    if (this.index !== index) {
      await new Promise((resolve) => {
        video.requestVideoFrameCallback(resolve); // after the one of #follow, which was asked for before
        setTimeout(resolve, LATE);
      });
    }
    // no new frame comes where it was shown already; one of an uneven clip begins at another time, and is meant all the same
    if (this.index !== index || !this.frame(index)) this.#take(index);
    this.index = index;
  }
  play() {
    if (this.video.paused && !this.video.ended) this.video.play().catch(() => {});
  }
  pause() {
    this.video.pause();
  }
  close() {
    this.onframe = () => {};
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
  }
}
