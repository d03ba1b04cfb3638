// Memory, tokens and branches of a run, each with what the numbers mean.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { gigabytes } from "./format.js";

/** @typedef {import("./record.js").View} View */
/** @typedef {import("./record.js").Memory} Memory */

const BRANCHES = ["full", "visual", "unconditional"];
/** @type {Record<string, string>} */
const SHORT = { unconditional: "uncond" };
const GPU =
  "On the GPU: the most that was used since denoising began, what weights and a step should take, and what ComfyUI can have.";
const PROCESS =
  "Without a GPU, memory of the whole ComfyUI process: the most since denoising began, what it should take, and what it can have.";
const TOKENS =
  "{target} of the result and {references} of references go through every block; a source adds none. {context} of prompt and pictures are attended to.";
const GUIDANCE = "Guidance {text}. Lit branches run in this step; a scale of 1 or a speed leaves some out.";
const VISUAL_GUIDANCE =
  "Guidance {text}, visual guidance {visual}. Lit branches run in this step; a scale of 1 or a speed leaves some out.";
let count = 0;

/** @returns {{element: HTMLElement, show: (view: View | null) => void}} Hidden while there is nothing to show. */
export function makeDetails() {
  const memory = makeMemory();
  const tokens = makeTerm("loom-run-tokens");
  const branches = makeTerm("loom-run-branches");
  const marks = BRANCHES.map((branch) => {
    const told = make("span.loom-unseen");
    return { branch, told, mark: make("span.loom-run-branch", { "data-branch": branch }, say(SHORT[branch] ?? branch), told) };
  });
  branches.term.append(...marks.map(({ mark }) => mark));
  const notice = makeTerm("loom-run-notice");
  notice.term.setAttribute("aria-label", say("Notice"));
  const row = make("div.loom-run-row", {}, tokens.element, notice.element, branches.element);
  const element = make("div.loom-run-details", {}, memory.element, row);
  return {
    element,
    show(view) {
      const report = view?.report ?? null;
      element.hidden = !report?.tokens;
      if (!view || !report?.tokens) return;
      memory.show(report.memory);
      const { target, references, context, total } = report.tokens;
      tokens.show(say("{count} tokens", { count: total.toLocaleString() }), say(TOKENS, { target, references, context: context ?? "?" }));
      const [text, visual] = [rounded(report.guidance_scale), rounded(report.visual_guidance_scale)];
      branches.show(null, visual === null ? say(GUIDANCE, { text }) : say(VISUAL_GUIDANCE, { text, visual }));
      const isLive = view.status === "running" && view.phase === "denoise";
      for (const { branch, mark, told } of marks) {
        const runs = isLive && Boolean(report.branches?.includes(branch));
        const state = runs ? "runs" : !isLive && view.ran.includes(branch) ? "ran" : "rests";
        mark.dataset.state = state;
        const words = { runs: "{branch}: runs", ran: "{branch}: ran", rests: "{branch}: does not run" };
        mark.title = say(words[state], { branch: say(branch) });
        told.textContent = ` (${mark.title})`;
      }
      notice.element.hidden = !report.notice;
      notice.show("!", report.notice);
    },
  };
}

/** @param {number | null | undefined} scale */
function rounded(scale) {
  return scale == null ? null : Math.round(scale * 100) / 100;
}

/**
 * A term that explains itself when pointed at or reached by key; Escape takes the explanation away.
 *
 * @param {string} kind
 */
function makeTerm(kind) {
  const id = `loom-hint-${(count += 1)}`;
  const term = make(`button.loom-run-term.${kind}`, { type: "button", "aria-describedby": id });
  const hint = make("span.loom-run-hint", { id, role: "tooltip" });
  const element = make("span.loom-run-about", {}, term, hint);
  const isShown = (/** @type {boolean} */ shown) => {
    // one is reached by key and another pointed at: the newer one counts
    for (const other of element.closest(".loom-run")?.querySelectorAll(".loom-shown") ?? []) other.classList.remove("loom-shown");
    element.classList.toggle("loom-shown", shown);
  };
  for (const kindOf of ["mouseenter", "focusin"]) element.addEventListener(kindOf, () => isShown(true));
  for (const kindOf of ["mouseleave", "focusout"]) element.addEventListener(kindOf, () => isShown(false));
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    isShown(false);
    event.stopPropagation();
  });
  return {
    element,
    term,
    /** @param {string | null} text Null leaves what is in it. @param {string} about */
    show(text, about) {
      if (text !== null && term.textContent !== text) term.textContent = text;
      if (hint.textContent !== about) hint.textContent = about;
    },
  };
}

function makeMemory() {
  const about = makeTerm("loom-run-memory");
  const name = make("span.loom-run-label");
  const [predicted, used] = [make("span.loom-run-predicted"), make("span.loom-run-used")];
  const numbers = make("span.loom-run-numbers");
  about.term.append(name, make("span.loom-run-bars", { "aria-hidden": true }, make("span", {}, predicted), make("span", {}, used)), numbers);
  return {
    element: about.element,
    /** @param {Memory | null} memory */
    show(memory) {
      about.element.hidden = !memory;
      if (!memory) return;
      const isGpu = memory.of === "gpu";
      const word = (/** @type {number | null} */ count) => (count === null ? "?" : gigabytes(count));
      const whole = memory.free ?? Math.max(memory.predicted ?? 0, memory.used ?? 0);
      const share = (/** @type {number | null} */ part) => `${Math.min(100, (100 * (part ?? 0)) / (whole || 1))}%`;
      predicted.style.width = share(memory.predicted);
      used.style.width = share(memory.used);
      used.classList.toggle("loom-run-over", memory.free !== null && (memory.predicted ?? 0) > memory.free);
      name.textContent = isGpu ? "VRAM" : "RAM";
      const values = { used: word(memory.used), predicted: word(memory.predicted), free: word(memory.free) };
      numbers.textContent = say("{used} used, {predicted} predicted of {free} GB", values);
      about.show(null, say(isGpu ? GPU : PROCESS));
    },
  };
}
