// The picture with its divider, and the buttons below it.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { shareAt } from "./geometry.js";

/** @typedef {import("./player.js").Player} Player */

/**
 * Elements that show and drive a player.
 *
 * @param {Player} player
 * @param {{onfull?: () => void}} [options] What the button for the full size does; without, there is none.
 * @returns {{element: HTMLElement, close: () => void}}
 */
export function viewOf(player, { onfull } = {}) {
  const canvas = /** @type {HTMLCanvasElement} */ (make("canvas.loom-wipe-screen", { role: "img" }));
  const divider = dividerOf(player);
  const stage = make(
    "div.loom-wipe-stage",
    {},
    canvas,
    make("span.loom-wipe-name.is-source", {}, say("Source")),
    make("span.loom-wipe-name.is-result", {}, say("Result")),
    divider,
  );
  const bar = barOf(player, onfull);
  const element = make(
    "div.loom-wipe-view",
    { role: "group", "aria-label": say("Source and result, frame by frame"), onkeydown: keysOf(player) },
    stage,
    bar.element,
  );
  drag(stage, (event) => player.setDivider(shareAt(event.clientX, onPage(player, canvas))), () => divider.focus({ preventScroll: true }));
  const update = () => {
    const box = player.boxOn(canvas);
    const style = stage.style;
    style.setProperty("--x", `${box.x + box.width * player.divider}px`);
    style.setProperty("--left", `${box.x}px`);
    style.setProperty("--right", `${canvas.clientWidth - box.x - box.width}px`);
    style.setProperty("--top", `${box.y}px`);
    style.setProperty("--high", `${box.height}px`);
    const share = Math.round(player.divider * 100);
    divider.setAttribute("aria-valuenow", String(share));
    divider.setAttribute("aria-valuetext", say("{share} % source", { share }));
    const numbers = { number: player.index + 1, count: player.count };
    canvas.setAttribute("aria-label", `${say("Source left of the divider, result right of it")}. ${say("Frame {number} of {count}", numbers)}`);
    canvas.dataset.frame = String(player.index);
    canvas.dataset.sourceFrame = String(player.sourceIndex);
    bar.update();
  };
  const observer = new ResizeObserver(() => {
    player.resized();
    update();
  });
  player.listeners.add(update);
  player.screens.add(canvas);
  observer.observe(canvas);
  update();
  const close = () => {
    observer.disconnect();
    player.listeners.delete(update);
    player.screens.delete(canvas);
  };
  return { element, close };
}

/** @param {Player} player @param {HTMLCanvasElement} canvas Where the picture lies on the page. */
function onPage(player, canvas) {
  const [box, page] = [player.boxOn(canvas), canvas.getBoundingClientRect()];
  const factor = page.width / (canvas.clientWidth || 1);
  return { x: page.x + box.x * factor, y: page.y + box.y * factor, width: box.width * factor, height: box.height * factor };
}

/** @param {Player} player */
function dividerOf(player) {
  const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: -0.01, ArrowRight: 0.01, ArrowDown: -0.01, ArrowUp: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 });
  return make("div.loom-wipe-divider", {
    role: "slider",
    tabindex: 0,
    "aria-label": say("Divider between source and result"),
    "aria-orientation": "horizontal",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const step = steps[event.key];
      if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      player.setDivider(player.divider + step * (event.shiftKey ? 10 : 1));
    },
  });
}

/** @param {Player} player @param {(() => void) | undefined} onfull */
function barOf(player, onfull) {
  const play = button("play", "Play", () => (player.isPlaying ? player.pause() : player.play()));
  const loop = button("sync", "Loop", () => {
    player.isLooping = !player.isLooping;
    update();
  });
  const range = /** @type {HTMLInputElement} */ (
    make("input.loom-wipe-range", {
      type: "range",
      min: 0,
      max: player.count - 1,
      step: 1,
      "aria-label": say("Frame"),
      oninput: () => {
        player.pause();
        player.show(Number(range.value));
      },
    })
  );
  const count = make("span.loom-wipe-count", { "aria-hidden": "true" });
  const clip = [
    button("step-backward", "One frame back (,)", () => player.step(-1)),
    play,
    button("step-forward", "One frame on (.)", () => player.step(1)),
    loop,
    range,
    count,
  ];
  const full = onfull && button("window-maximize", "Full size", onfull);
  const element = make("div.loom-wipe-bar", {}, ...(player.count > 1 ? clip : []), full);
  const update = () => {
    name(play, player.isPlaying ? "Pause" : "Play");
    const icon = /** @type {HTMLElement} */ (play.firstElementChild);
    icon.className = `pi pi-${player.isPlaying ? "pause" : "play"}`;
    loop.setAttribute("aria-pressed", String(player.isLooping));
    if (Number(range.value) !== player.index) range.value = String(player.index);
    const numbers = { number: player.index + 1, count: player.count };
    range.setAttribute("aria-valuetext", say("Frame {number} of {count}", numbers));
    count.textContent = `${numbers.number} / ${numbers.count}`;
  };
  return { element, update };
}

/** @param {string} icon @param {string} text @param {() => void} onclick */
export function button(icon, text, onclick) {
  const made = make("button.loom-wipe-button", { type: "button", onclick }, make("i.pi", { "aria-hidden": "true" }));
  /** @type {HTMLElement} */ (made.firstElementChild).classList.add(`pi-${icon}`);
  name(made, text);
  return made;
}

/** @param {HTMLElement} element @param {string} text */
function name(element, text) {
  element.setAttribute("aria-label", say(text));
  element.title = say(text);
}

/** @param {Player} player @returns {(event: KeyboardEvent) => void} */
function keysOf(player) {
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || player.count < 2) return;
    const isOnButton = event.target instanceof HTMLButtonElement;
    if (event.key === ",") player.step(-1);
    else if (event.key === ".") player.step(1);
    else if (event.key === " " && !isOnButton) player.isPlaying ? player.pause() : player.play();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
}

/** @param {HTMLElement} element @param {(event: PointerEvent) => void} onmove @param {() => void} onend */
function drag(element, onmove, onend) {
  let held = -1;
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    held = event.pointerId;
    element.setPointerCapture(held);
    onmove(event);
    onend();
  });
  element.addEventListener("pointermove", (event) => {
    if (event.pointerId === held) onmove(event);
  });
  for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, () => (held = -1));
}
