// The panel of a run, on the sampler: phases, step and time left, memory, tokens, branches; afterwards what it took.
// @ts-check
import { make } from "../shared/element.js";
import { placeOf, widgetOf } from "../shared/graph.js";
import { onceAFrame, whileAdded } from "../shared/lifetime.js";
import { addPanel, hide } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { makeDetails } from "./details.js";
import { clock, firstSentence, minutes } from "./format.js";
import { PHASES } from "./roles.js";
import { onRun, runOf } from "./runs.js";
import "./words.js";

/** @typedef {import("./record.js").View} View */
/** @typedef {import("./record.js").Mark} Mark */
/** @typedef {import("./roles.js").Phase} Phase */

const [HEIGHT, MARGIN] = [104, 5];
const SECOND = 1000;
/** ComfyUI's own line of text on a node, which says the same as the panel. */
const TEXT = "$$node-text-preview";
/** @type {Record<Phase, string>} */
const NAMES = { load: "Load", encode: "Encode", denoise: "Denoise", decode: "Decode" };

/** @param {any} node */
export function attach(node) {
  const name = (/** @type {Phase} */ phase) => say(NAMES[phase]);
  const steps = PHASES.map((phase) => {
    const took = make("span.loom-run-took");
    const told = make("span.loom-unseen");
    return { phase, took, told, item: make("li", { "data-phase": phase }, make("span.loom-run-name", {}, name(phase)), took, told) };
  });
  const fill = make("span");
  const bar = make("div.loom-run-bar", { role: "progressbar", "aria-label": say("Progress"), "aria-valuemin": 0 }, fill);
  const what = make("span.loom-run-what");
  const time = make("span.loom-run-time");
  const heard = make("span.loom-unseen", { role: "status" });
  const details = makeDetails();
  const panel = make(
    "div.loom-run",
    { role: "group", "aria-label": say("Run of this sampler") },
    make("ol.loom-run-phases", { "aria-label": say("Phases") }, ...steps.map(({ item }) => item)),
    make("div.loom-run-line", {}, what, bar, time),
    details.element,
    heard,
  );
  panel.style.maxHeight = `${HEIGHT}px`;
  const widget = addPanel(node, "loom_run", panel, { height: () => HEIGHT });
  // what is left of the node is for the preview
  Object.assign(widget.options, { getMaxHeight: () => HEIGHT, margin: MARGIN });

  /** When the newest report came, by which its time left counts down. */
  let [reported, told] = [/** @type {unknown} */ (null), 0];
  follow(node, (view) => {
    if (view?.report !== reported) [reported, told] = [view?.report, Date.now()];
    panel.dataset.status = view?.status ?? "idle";
    for (const { phase, took, told: about, item } of steps) showPhase(item, took, about, view?.marks[phase]);
    const line = sentences(view, Math.max((view?.left ?? 0) - (Date.now() - told), 0));
    set(what, line.what);
    set(time, line.time);
    what.title = line.what;
    showBar(bar, fill, view, [line.what, line.time].filter(Boolean).join(", "));
    set(heard, line.heard);
    details.show(view);
    const text = widgetOf(node, TEXT);
    if (text && !text.hidden) {
      hide(text);
      node.setDirtyCanvas?.(true, true);
    }
  });
}

/**
 * Draw a new phase at once, other changes at most once a frame, and each second while time runs, while the node is in the graph.
 *
 * @param {any} node
 * @param {(view: View | null) => void} draw
 */
function follow(node, draw) {
  const now = () => {
    const found = runOf(node);
    const view = found ? found.run.view(found.id, Date.now()) : null;
    return { view, state: found && view ? [found.run.id, view.status, view.phase].join() : "" };
  };
  whileAdded(node, () => {
    let [isGone, timer] = [false, 0];
    /** @type {string | null} */
    let drawn = null;
    const soon = onceAFrame(() => !isGone && draw(now().view));
    const later = () => {
      if (isGone) return;
      const { view, state } = now();
      if (state === drawn) soon();
      else {
        drawn = state;
        draw(view);
      }
      clearTimeout(timer);
      if (view?.status === "running") timer = window.setTimeout(later, SECOND);
    };
    const end = onRun(later);
    requestAnimationFrame(later); // by then the node has its id
    return () => {
      isGone = true;
      clearTimeout(timer);
      end();
    };
  });
}

/** Change an element's text only where it is another. @param {HTMLElement} element @param {string} text */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {HTMLElement} item
 * @param {HTMLElement} took
 * @param {HTMLElement} about
 * @param {{mark: Mark, took: number | null} | undefined} state
 */
function showPhase(item, took, about, state) {
  const mark = state?.mark ?? "todo";
  item.dataset.mark = mark;
  if (mark === "current") item.setAttribute("aria-current", "step");
  else item.removeAttribute("aria-current");
  const time = state?.took != null && mark !== "current" ? clock(state.took / SECOND) : "";
  set(took, time);
  /** @type {Record<Mark, string>} */
  const words = { todo: "not yet", current: "under way", done: "done", kept: "kept from before", stopped: "stopped here" };
  set(about, ` (${say(words[mark])})`);
  item.title = say(words[mark]);
}

/**
 * @param {View | null} view
 * @param {number} left Milliseconds.
 * @returns {{what: string, time: string, heard: string}} The last is for those who do not see it: it changes seldom.
 */
function sentences(view, left) {
  if (!view) return { what: say("Not run yet"), time: "", heard: "" };
  const phase = view.phase ? say(NAMES[view.phase]) : "";
  const at = view.phase === "denoise" && view.part ? say("step {step} of {steps}", { step: view.part.done, steps: view.part.of }) : "";
  const took = view.took === null ? "" : say("took {time}", { time: clock(view.took / SECOND) });
  if (view.status === "done") return { what: say("Finished"), time: took, heard: `${say("Finished")} ${took}` };
  if (view.status === "cancelled" || view.status === "failed") {
    const where = [phase, at].filter(Boolean).join(", ");
    const verb = view.status === "cancelled" ? "Cancelled" : "Stopped";
    const head = where ? say(`${verb}: {phase}`, { phase: where }) : say(verb);
    const why = view.error ? ` – ${firstSentence(view.error)}` : "";
    return { what: head + why, time: "", heard: head + why };
  }
  if (view.status === "waiting") return { what: say("Another part of the graph runs"), time: "", heard: "" };
  const time = view.left === null ? "" : say("{time} left", { time: minutes(left / SECOND) });
  return { what: running(view), time, heard: phase };
}

/** @param {View} view One that is under way. */
function running(view) {
  if (view.phase === "denoise") {
    if (!view.part) return say("Denoise");
    const [step, steps] = [view.part.done, view.part.of];
    return step ? say("Step {step} of {steps}", { step, steps }) : say("{steps} steps ahead", { steps });
  }
  if (view.phase === "load" && view.report && view.node === view.report.node) return say("Loading the model");
  const node = placeOf(view.node ?? "")?.node;
  return node?.title || node?.comfyClass || "";
}

/**
 * @param {HTMLElement} bar
 * @param {HTMLElement} fill
 * @param {View | null} view
 * @param {string} text
 */
function showBar(bar, fill, view, text) {
  const part = view?.part ?? null;
  const isOpen = !part && view?.status === "running";
  const share = view?.status === "done" ? 1 : part ? part.done / part.of : 0;
  bar.classList.toggle("loom-run-open", isOpen);
  fill.style.width = isOpen ? "" : `${Math.round(1000 * Math.min(share, 1)) / 10}%`;
  bar.setAttribute("aria-valuetext", text);
  if (isOpen) {
    bar.removeAttribute("aria-valuenow");
    bar.removeAttribute("aria-valuemax");
  } else {
    bar.setAttribute("aria-valuenow", String(part ? part.done : share));
    bar.setAttribute("aria-valuemax", String(part ? part.of : 1));
  }
}
