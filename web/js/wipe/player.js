// Source and result over each other, always the same moment of both.
// @ts-check
import { contained, covering } from "./geometry.js";
import { clamp, partner, waiting } from "./timing.js";

/** @typedef {import("./medium.js").Still | import("./medium.js").Clip} Medium */

const PATIENCE = 500; // milliseconds without a new picture after which both clips are put on one frame anew

export class Player {
  /** Frame of the result that is shown, and of the source beside it. */
  index = 0;
  sourceIndex = 0;
  isPlaying = false;
  isLooping = true;
  /** Share of the picture that shows the source, from its left. */
  divider = 0.5;
  /** Called when something that is shown has changed. @type {Set<() => void>} */
  listeners = new Set();
  /** Where it is drawn. @type {Set<HTMLCanvasElement>} */
  screens = new Set();
  /** @type {{result: CanvasImageSource, source: CanvasImageSource} | null} */
  #shown = null;
  #wanted = 0;
  /** @type {Promise<void> | null} */
  #seeking = null;
  #watch = 0;

  /**
   * @param {Medium} source
   * @param {Medium} result
   * @param {{start: number, fit: string}} how The edit's start in the source in seconds, and how the source was fitted.
   */
  constructor(source, result, { start, fit }) {
    this.source = source;
    this.result = result;
    this.fit = fit;
    this.timing = { start, resultFps: result.fps, sourceFps: source.fps, sourceFrames: source.frames };
    for (const medium of [source, result]) if ("onframe" in medium) medium.onframe = () => this.#came();
  }
  get count() {
    return this.result.frames;
  }

  /** Show a frame of the result; of several that are asked for meanwhile, the last. @param {number} index */
  show(index) {
    this.#wanted = clamp(index, 0, this.count - 1);
    this.#seeking ??= this.#seek().finally(() => (this.#seeking = null));
    return this.#seeking;
  }

  async #seek() {
    let at = -1;
    while (at !== this.#wanted) {
      at = this.#wanted;
      await Promise.all([this.result.seek(at), this.source.seek(partner(at, this.timing))]);
    }
    this.#put(at);
  }

  /** @param {number} index @returns {boolean} Whether both pictures of that frame are there. */
  #put(index) {
    const sourceIndex = partner(index, this.timing);
    const [result, source] = [this.result.frame(index), this.source.frame(sourceIndex)];
    if (!result || !source) return false;
    this.#shown = { result, source };
    [this.index, this.sourceIndex] = [index, sourceIndex];
    this.draw();
    this.#tell();
    return true;
  }

  /** One frame on or back. @param {number} frames */
  step(frames) {
    this.pause();
    return this.show((this.#seeking ? this.#wanted : this.index) + frames);
  }

  async play() {
    if (this.isPlaying || this.count < 2) return;
    this.isPlaying = true;
    this.#tell();
    await this.show(this.index >= this.count - 1 ? 0 : this.index);
    if (!this.isPlaying) return;
    this.#run();
    let last = -1;
    clearInterval(this.#watch);
    this.#watch = window.setInterval(() => {
      if (this.index === last && !this.#seeking && !document.hidden) this.#again(this.index + 1);
      last = this.index;
    }, PATIENCE);
  }

  pause() {
    this.#halt();
    if (!this.isPlaying) return;
    this.isPlaying = false;
    clearInterval(this.#watch);
    this.#tell();
    this.show(this.index); // the players may be a frame further
  }

  #run() {
    this.result.play();
    this.source.play();
  }

  #halt() {
    this.result.pause();
    this.source.pause();
  }

  /** A clip shows another frame: draw the newest moment of which both pictures are there. */
  #came() {
    if (!this.isPlaying || this.#seeking) return;
    for (let index = this.result.index; index > this.index; index--) if (this.#put(index)) break;
    if (this.index >= this.count - 1 || ("isOver" in this.result && this.result.isOver)) this.#end();
    else this.#keepTogether();
  }

  #keepTogether() {
    if (!("isOver" in this.source) || this.source.isOver) return this.result.play();
    const waits = waiting(this.source.time - this.timing.start - this.result.time, 1 / this.timing.resultFps);
    if (waits) this[waits].pause();
    else this.#run();
    if (waits) this[waits === "source" ? "result" : "source"].play();
  }

  #end() {
    if (this.isLooping) this.#again(0);
    else {
      this.pause();
      this.show(this.count - 1);
    }
  }

  /** Go on from a frame, with both clips on it. @param {number} index */
  async #again(index) {
    this.#halt();
    await this.show(index >= this.count ? 0 : index);
    if (this.isPlaying) this.#run();
  }

  /** @param {number} share */
  setDivider(share) {
    this.divider = clamp(share, 0, 1);
    this.draw();
    this.#tell();
  }

  /** @param {HTMLCanvasElement} canvas @returns {import("./geometry.js").Box} Where the picture lies, in its CSS pixels. */
  boxOn(canvas) {
    return contained(this.result, { x: 0, y: 0, width: canvas.clientWidth || 1, height: canvas.clientHeight || 1 });
  }

  /** Draw what is shown. */
  draw() {
    for (const canvas of this.screens) this.#drawOn(canvas);
  }

  /** After a screen came or changed its size: have frames as large as the largest one shows them. */
  resized() {
    const widest = Math.max(...[...this.screens].map((canvas) => this.boxOn(canvas).width * sharpness(canvas)));
    let isSharper = false;
    for (const medium of [this.source, this.result]) {
      if (!("widest" in medium) || medium.widest >= Math.min(widest, medium.width)) continue;
      medium.widest = widest;
      medium.forget();
      isSharper = true;
    }
    this.draw();
    if (isSharper && !this.isPlaying) this.show(this.#seeking ? this.#wanted : this.index);
  }

  /** @param {HTMLCanvasElement} canvas */
  #drawOn(canvas) {
    const context = canvas.getContext("2d");
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * sharpness(canvas)));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * sharpness(canvas)));
    if (!context || !this.#shown) return;
    const box = contained(this.result, { x: 0, y: 0, width: canvas.width, height: canvas.height });
    const place = this.fit === "contain" ? contained : covering;
    const inside = place(this.source, box);
    context.drawImage(this.#shown.result, box.x, box.y, box.width, box.height);
    context.beginPath();
    context.rect(box.x, box.y, box.width * this.divider, box.height);
    context.clip();
    context.fillRect(box.x, box.y, box.width, box.height); // the bars of contain
    context.drawImage(this.#shown.source, inside.x, inside.y, inside.width, inside.height);
  }

  #tell() {
    for (const listener of this.listeners) listener();
  }

  close() {
    clearInterval(this.#watch);
    this.isPlaying = false;
    this.screens.clear();
    this.listeners.clear();
    this.source.close();
    this.result.close();
  }
}

/** Pixels of the display to one of the element, which the graph may have scaled. @param {HTMLElement} element */
function sharpness(element) {
  return (element.getBoundingClientRect().width / (element.clientWidth || 1)) * window.devicePixelRatio || 1;
}
