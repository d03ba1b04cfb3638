// Moving a card in the list: by dragging it, or by keys.
// @ts-check

const STARTS = 5; // CSS pixels: below it is a click
const EDGE = 24; // CSS pixels from the top and bottom of the list, in which it scrolls
const EARLIER = ["ArrowUp", "ArrowLeft"];
const LATER = ["ArrowDown", "ArrowRight"];

/**
 * @param {HTMLElement} list Of items, each with one button.loom-strip-card.
 * @param {(from: number, to: number) => void} move
 * @param {() => void} whenFree Called when a card that was held is let go.
 * @returns {{isBusy: () => boolean}} Busy while a card is held by the pointer, when the items must stay.
 */
export function moveBy(list, move, whenFree) {
  const drag = dragging(list, move, whenFree);
  list.addEventListener("pointerdown", drag.start);
  list.addEventListener("keydown", (event) => pressed(list, event, move));
  list.addEventListener("click", (event) => {
    // by Enter or the space bar; a mouse drags
    if (event.detail === 0) hold(cardOf(event.target));
  });
  list.addEventListener("focusout", (event) => {
    if (!list.contains(/** @type {Node | null} */ (event.relatedTarget))) hold(null, list);
  });
  return { isBusy: drag.isBusy };
}

/** @param {EventTarget | null} target @returns {HTMLElement | null} */
function cardOf(target) {
  return target instanceof Element ? target.closest(".loom-strip-card") : null;
}

/** @param {HTMLElement} list @returns {HTMLElement[]} */
function cardsOf(list) {
  return [...list.querySelectorAll(/** @type {"button"} */ (".loom-strip-card"))];
}

/** Pick up a card, so that arrows alone move it, or put it down. @param {HTMLElement | null} card @param {HTMLElement} [within] */
function hold(card, within) {
  const list = within ?? card?.closest("ol");
  const isHeld = card?.getAttribute("aria-pressed") === "true";
  for (const each of list?.querySelectorAll('[aria-pressed="true"]') ?? []) each.setAttribute("aria-pressed", "false");
  card?.setAttribute("aria-pressed", String(!isHeld));
}

/** @param {HTMLElement} list @param {KeyboardEvent} event @param {(from: number, to: number) => void} move */
function pressed(list, event, move) {
  const card = cardOf(event.target);
  if (!card || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const step = EARLIER.includes(event.key) ? -1 : LATER.includes(event.key) ? 1 : 0;
  const isHeld = card.getAttribute("aria-pressed") === "true";
  const ends = event.key === "Escape" && isHeld;
  if (!step && !ends && event.key !== " " && event.key !== "Enter") return;
  event.stopPropagation(); // these keys move nodes and the canvas
  if (ends) hold(card);
  if (!step) return;
  event.preventDefault(); // Alt and an arrow go back in the browser's history
  const cards = cardsOf(list);
  const at = cards.indexOf(card);
  if (!cards[at + step]) return;
  if (!event.altKey && !isHeld) return cards[at + step].focus();
  move(at, at + step);
  if (isHeld) cardsOf(list)[at + step]?.setAttribute("aria-pressed", "true");
}

/** @param {HTMLElement} list @param {(from: number, to: number) => void} move @param {() => void} whenFree */
function dragging(list, move, whenFree) {
  /** @type {{item: HTMLElement, from: number, startY: number, startTop: number, to: number, isMoving: boolean, end: () => void} | null} */
  let held = null;

  /** @param {PointerEvent} event */
  function start(event) {
    const card = cardOf(event.target);
    if (!card || event.button !== 0 || held) return;
    const item = /** @type {HTMLElement} */ (card.closest("li"));
    const listeners = new AbortController();
    const options = { signal: listeners.signal, capture: true };
    const from = [...list.children].indexOf(item);
    held = { item, from, to: from, startY: event.clientY, startTop: list.scrollTop, isMoving: false, end: () => listeners.abort() };
    // on the window, since the pointer leaves the list and other elements stop what they hear
    window.addEventListener("pointermove", follow, options);
    window.addEventListener("pointerup", () => finish(true), options);
    window.addEventListener("pointercancel", () => finish(false), options);
    window.addEventListener("keydown", cancelled, options);
  }

  /** @param {KeyboardEvent} event */
  function cancelled(event) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    finish(false);
  }

  /** @param {PointerEvent} event */
  function follow(event) {
    if (!held) return;
    const items = /** @type {HTMLElement[]} */ ([...list.children]);
    const zoom = list.getBoundingClientRect().height / list.offsetHeight || 1; // of the canvas
    const way = (event.clientY - held.startY) / zoom;
    if (!held.isMoving && Math.abs(way) < STARTS) return;
    held.isMoving = true;
    scroll(event.clientY, zoom);
    const { item, startTop } = held;
    const top = item.offsetTop - list.offsetTop - list.scrollTop; // in what is seen of the list
    const shift = Math.min(Math.max(way + list.scrollTop - startTop, -top), list.clientHeight - item.offsetHeight - top);
    item.classList.add("loom-strip-dragged");
    item.style.transform = `translateY(${shift}px)`;
    held.to = placeAt(items, held.from, event.clientY);
    items.forEach((item, at) => {
      item.classList.toggle("loom-strip-before", at === held?.to && at < held.from);
      item.classList.toggle("loom-strip-after", at === held?.to && at > held.from);
    });
  }

  /** @param {number} y @param {number} zoom */
  function scroll(y, zoom) {
    const box = list.getBoundingClientRect();
    if (y < box.top + EDGE * zoom) list.scrollTop -= EDGE / 4;
    else if (y > box.bottom - EDGE * zoom) list.scrollTop += EDGE / 4;
  }

  /** @param {boolean} isDropped */
  function finish(isDropped) {
    if (!held) return;
    const { item, from, to, isMoving, end } = held;
    held = null;
    end();
    item.style.transform = "";
    for (const each of list.children) each.classList.remove("loom-strip-dragged", "loom-strip-before", "loom-strip-after");
    if (isDropped && isMoving && to !== from) move(from, to);
    else whenFree();
  }

  return { start, isBusy: () => held !== null };
}

/** Where an item comes that is dropped at a height of the screen. @param {HTMLElement[]} items @param {number} from @param {number} y */
function placeAt(items, from, y) {
  return items.filter((item, at) => {
    if (at === from) return false;
    const box = item.getBoundingClientRect();
    return box.top + box.height / 2 < y;
  }).length;
}
