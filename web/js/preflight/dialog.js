// The findings of a graph in a dialog, each a sentence with its buttons. A native modal <dialog>: what is behind it is inert,
// Escape closes it, and the focus goes back to where it was.
// @ts-check
import { placeOf } from "../shared/graph.js";
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { ofLevel } from "./answers.js";
import { copy } from "./copy.js";
import { mark } from "./marks.js";
import { canWrite, show, write } from "./place.js";
import { sentenceOf } from "./sentences.js";

/** @typedef {import("./answers.js").Answer} Answer */
/** @typedef {import("./answers.js").Finding} Finding */
/** @typedef {import("./answers.js").Level} Level */

const NAMES = { error: "Error", warning: "Warning", note: "Good" };

/**
 * Show findings until the person decides.
 *
 * @param {Answer | null} answer
 * @param {object} options
 * @param {() => Promise<Answer | null>} options.again Checks once more, after something was changed.
 * @param {boolean} [options.isRun] Whether a run waits for it: then it asks whether to run, and tells no notes.
 * @returns {Promise<boolean>} Whether to run.
 */
export function showFindings(answer, { again, isRun = false }) {
  /** @type {Level[]} */
  const levels = isRun ? ["error", "warning"] : ["error", "warning", "note"];
  const title = make("h2", { id: "loom-preflight-title" });
  const summary = make("p.loom-quiet", { role: "status" });
  const list = make("ul.loom-findings", { tabindex: "0", "aria-labelledby": title.id });
  const footer = make("footer");
  const dialog = /** @type {HTMLDialogElement} */ (
    make("dialog.loom-dialog.loom-preflight", { role: "dialog", "aria-modal": "true", "aria-labelledby": title.id }, title, summary, list, footer)
  );
  const close = (/** @type {string} */ word) => dialog.close(word);
  const button = (/** @type {string} */ text, /** @type {() => void} */ onclick, more = "") =>
    make(`button.loom-button${more}`, { type: "button", onclick }, text);

  /** @param {Finding} finding */
  function item(finding) {
    const { action, command, node, level } = finding;
    const { text, isTranslated } = sentenceOf(finding);
    const buttons = [];
    if (action?.kind === "set" && canWrite(action))
      buttons.push(button(say("Set {what}", { what: action.values.map((each) => `${each.input} = ${each.value}`).join(", ") }), () => fix(action), ".loom-fix"));
    if (node !== null && level !== "note" && placeOf(node))
      buttons.push(
        button(say("Show the node"), () => {
          close("");
          show(node);
        }),
      );
    if (command) buttons.push(button(say("Copy the command"), () => copyText(command)));
    return make(
      "li.loom-finding",
      { "data-level": level },
      make("span.loom-level", {}, say(NAMES[level])),
      make("p", { lang: !isTranslated && "en" }, text.replace(/^./u, (letter) => letter.toUpperCase())),
      command && make("pre", { tabindex: "0", "aria-label": say("Command") }, command),
      buttons.length > 0 && make("div.loom-buttons", {}, ...buttons),
    );
  }

  /** @param {Answer | null} found */
  function fill(found) {
    const bad = ofLevel(found, "error", "warning");
    const errors = ofLevel(found, "error").length;
    mark(bad);
    title.textContent = isRun && errors ? say("This run would stop") : say("LoomVideo: this graph");
    summary.textContent = found
      ? say("Errors: {errors}. Warnings: {warnings}.", { errors, warnings: bad.length - errors })
      : say("This graph could not be checked.");
    list.replaceChildren(...levels.flatMap((level) => ofLevel(found, level)).map(item));
    list.hidden = !list.childElementCount;
    const report = found?.report;
    const ends = isRun
      ? [
          button(say("Cancel"), () => close("")),
          button(errors ? say("Run anyway") : say("Run"), () => close("run"), errors ? "" : ".loom-primary"),
        ]
      : [!!report && button(say("Copy report"), () => copyText(report)), button(say("Close"), () => close(""))];
    footer.replaceChildren(.../** @type {HTMLElement[]} */ (ends.filter(Boolean)));
    const first = errors || !isRun ? dialog.querySelector(".loom-fix") : null;
    /** @type {HTMLElement} */ (first ?? (errors ? footer.firstElementChild : footer.lastElementChild)).focus();
  }

  /** @param {import("./answers.js").SetAction} action */
  async function fix(action) {
    write(action);
    dialog.toggleAttribute("data-busy", true);
    summary.textContent = say("Checking again …");
    const found = await again();
    dialog.removeAttribute("data-busy");
    if (dialog.open) fill(found);
  }

  /** @param {string} text */
  async function copyText(text) {
    summary.textContent = (await copy(text, dialog)) ? say("Copied.") : say("This browser does not let it be copied.");
  }

  // keys in the dialog are none of the canvas's; Tab stays inside, where a browser would go on to its own bars
  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Tab") keepInside(dialog, event);
  });
  document.body.append(dialog);
  dialog.showModal();
  fill(answer);
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "run");
    }),
  );
}

/** @param {HTMLElement} dialog @param {KeyboardEvent} event Of Tab. */
function keepInside(dialog, event) {
  const stops = [.../** @type {NodeListOf<HTMLElement>} */ (dialog.querySelectorAll("button, [tabindex='0']"))];
  const [from, to] = event.shiftKey ? [stops[0], stops[stops.length - 1]] : [stops[stops.length - 1], stops[0]];
  if (document.activeElement !== from) return;
  event.preventDefault();
  to.focus();
}
