// The references of Reference Slots in their order: what each is, what will happen to it, and moving it to another number
// while the prompts still mean the same pictures.
// @ts-check
import { numbersOf } from "../references/numbers.js";
import { followRuns } from "../references/runs.js";
import { make } from "../shared/element.js";
import { isLinked, setWidget, together, watch, widgetOf } from "../shared/graph.js";
import { addPanel, fit } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { cardElement, noticeElement } from "./cards.js";
import { exchange, retitle, rewrite } from "./links.js";
import { moveBy } from "./moving.js";
import { moved, orderAfter, reindexed } from "./order.js";
import { roomOf, tallest } from "./room.js";
import { labelOf, stateOf } from "./state.js";
import "./words.js";

/** @typedef {import("./state.js").State} State */

const NAME = "reference strip";
let made = 0;

/** @param {any} node */
export function attach(node) {
  const hint = `loom-strip-hint-${++made}`;
  const list = make("ol.loom-strip-list", { "aria-label": say("References in the order of their numbers") });
  const notices = make("div.loom-strip-notices");
  const said = make("p.loom-strip-said", { role: "status" });
  const keys = say("Alt and an arrow key move it; Enter or the space bar picks it up, and arrow keys alone move it then.");
  const element = make("div.loom-strip", {}, list, notices, said, make("p.loom-hidden", { id: hint }, keys));

  /** @type {State} */
  let state = { cards: [], counts: [], notices: [] };
  let drawn = "";
  let height = roomOf([]);
  let isMoving = false;

  const refresh = () => {
    if (mover.isBusy() || !node.graph) return;
    state = stateOf(node, refresh);
    hide();
    const now = JSON.stringify(state);
    if (now === drawn) return;
    drawn = now;
    if (!isMoving) said.textContent = "";
    draw();
  };

  const draw = () => {
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    const last = state.cards.length - 1;
    const top = list.scrollTop;
    list.replaceChildren(...state.cards.map((card, at) => cardElement(card, { at, last, hint, move })));
    list.scrollTop = top;
    if (focused >= 0) focus(Math.min(focused, last));
    notices.replaceChildren(...state.notices.map((notice) => noticeElement(notice, "p")));
    if (last < 0) notices.append(make("p.loom-strip-empty", {}, say("Connect a picture to image_1: the prompt names it @Image 1.")));
    element.style.setProperty("--loom-strip-tall", `${tallest(state.cards)}px`);
    const wanted = roomOf(state.cards);
    if (wanted !== height) {
      height = wanted;
      fit(node);
    }
  };

  const focus = (/** @type {number} */ at) => {
    const card = /** @type {HTMLElement | null} */ (list.children[at]?.querySelector(".loom-strip-card"));
    card?.focus({ preventScroll: true });
    card?.scrollIntoView({ block: "nearest" });
  };

  const move = (/** @type {number} */ from, /** @type {number} */ to) => {
    if (stateOf(node, refresh).counts.length !== state.counts.length) return refresh(); // slots came or went meanwhile
    const reason = whyNot(state, from, to);
    said.textContent = reason || moveReference(node, state, from, to);
    isMoving = true;
    refresh();
    isMoving = false;
    focus(reason ? from : to);
  };

  const hide = hideResult(node, () => state.cards.length > 0 && state.cards.every((card) => card.address));
  const mover = moveBy(list, move, refresh);
  addPanel(node, NAME, element, { height: () => height });
  followRuns(node, refresh);
  watch(node, refresh);
}

/** Why a reference cannot move; empty where it can. @param {State} state @param {number} from @param {number} to */
function whyNot({ cards, counts }, from, to) {
  if (orderAfter(counts, from, to)) return "";
  const unseen = cards.slice(0, Math.max(from, to) + 1).find((card) => card.isUnseen);
  if (unseen)
    return say(
      "Not moved: {name} may hold several pictures, so the numbers from there on are not known inside this subgraph. Set batch to one reference of many frames on this node.",
      { name: unseen.name },
    );
  return say(
    "Not moved: {name} may hold several pictures, so the numbers from there on are not known. Run the graph once, or set batch to one reference of many frames.",
    { name: cards[counts.indexOf(null)].name },
  );
}

/**
 * Give a reference another number. Links, times and prompts change together, in one step of undo.
 *
 * @param {any} node
 * @param {State} state
 * @param {number} from
 * @param {number} to
 * @returns {string} What happened.
 */
function moveReference(node, { cards, counts }, from, to) {
  const order = /** @type {number[]} */ (orderAfter(counts, from, to));
  const places = moved([...cards.keys()], from, to);
  /** @type {ReturnType<typeof rewrite>} */
  let prompts = { written: 0, left: [] };
  together(node, () => {
    exchange(node, places);
    if (!isLinked(node, "temporal_indices"))
      setWidget(node, "temporal_indices", reindexed(widgetOf(node, "temporal_indices")?.value ?? "", order));
    retitle(node, order);
    prompts = rewrite(node, order);
  });
  const label = labelOf(numbersOf(moved(counts, from, to))[to]);
  const sentences = [say("{name} is now {label}.", { name: cards[from].name, label })];
  if (prompts.written) sentences.push(say("The mentions in the prompt follow it."));
  if (prompts.left.length) sentences.push(say("Not changed: the prompt of {nodes}. Change its numbers yourself.", { nodes: prompts.left.join(", ") }));
  return sentences.join(" ");
}

/**
 * Leave out the strip that the node itself shows after a run, where all of its pictures are here.
 *
 * @param {any} node
 * @param {() => boolean} isHere
 * @returns {() => void} To be called when that changed.
 */
function hideResult(node, isHere) {
  const hide = () => {
    node.hideOutputImages = isHere(); // Vue nodes ask this
    const widget = widgetOf(node, "$$canvas-image-preview"); // and this is what the canvas draws
    if (!widget || Boolean(widget.hidden) === isHere()) return;
    widget.hidden = isHere();
    node.setDirtyCanvas?.(true, true);
  };
  const before = node.onDrawBackground;
  node.onDrawBackground = function (/** @type {any[]} */ ...words) {
    before?.apply(this, words);
    hide(); // the host adds it here
  };
  return hide;
}
