// The list of references that typing @ opens, at the caret. The focus stays in the editor.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { thumbnail } from "./view.js";

/** @typedef {import("./references.js").Reference} Reference */

const GAP = 4; // CSS pixels between the caret and the list, and to the edge of the window
let count = 0;

export class Choices {
  /** @type {HTMLElement | null} */
  #popup = null;
  /** @type {Reference[]} */
  #references = [];
  #at = 0;
  #shown = "";
  #id = `loom-prompt-choices-${(count += 1)}`;
  /** @type {AbortController | null} */
  #listeners = null;

  /** @param {HTMLElement} editor @param {(reference: Reference) => void} choose */
  constructor(editor, choose) {
    this.editor = editor;
    this.choose = choose;
  }

  get isOpen() {
    return this.#popup !== null;
  }

  /** @param {Node | null} node */
  contains(node) {
    return this.#popup?.contains(node) ?? false;
  }

  /**
   * @param {Reference[]} references To choose from; if there are none, the hint is shown.
   * @param {DOMRect} caret
   * @param {string} hint
   */
  open(references, caret, hint) {
    const marked = this.#popup ? this.#references[this.#at]?.number : null;
    const shown = JSON.stringify([references, references.length ? "" : hint]);
    if (!this.#popup || shown !== this.#shown) this.#make(references, hint);
    this.#shown = shown;
    this.#place(caret);
    this.#mark(Math.max(references.findIndex((each) => each.number === marked), 0));
  }

  close() {
    this.#listeners?.abort();
    this.#popup?.remove();
    this.#popup = null;
    for (const name of ["aria-controls", "aria-activedescendant"]) this.editor.removeAttribute(name);
  }

  /** @param {KeyboardEvent} event @returns {boolean} Whether the key was for the list. */
  press(event) {
    if (!this.#popup || event.ctrlKey || event.metaKey || event.altKey) return false;
    const steps = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1 });
    const { length } = this.#references;
    if (event.key === "Escape") this.close();
    else if (!length) return false;
    else if (event.key in steps) this.#mark((this.#at + steps[event.key] + length) % length);
    else if (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey)) this.#take(this.#at);
    else return false;
    return true;
  }

  /** @param {Reference[]} references @param {string} hint */
  #make(references, hint) {
    this.close();
    this.#references = references;
    const items = references.map((reference, index) =>
      make(
        "li.loom-prompt-choice",
        { id: `${this.#id}-${index}`, role: "option", "aria-selected": "false", onclick: () => this.#take(index), onpointermove: () => this.#mark(index) },
        thumbnail(reference),
        make("b", {}, `@Image ${reference.number}`),
        make("span.loom-prompt-name", { title: reference.name }, reference.name),
      ),
    );
    this.#popup = make(
      "div.loom-panel.loom-prompt-popup",
      // the editor keeps the focus, and the canvas below hears nothing
      { onpointerdown: stop, onmousedown: stop, onwheel: (/** @type {Event} */ event) => event.stopPropagation() },
      items.length
        ? make("ul", { id: this.#id, role: "listbox", "aria-label": say("References") }, ...items)
        : make("p", { role: "status" }, hint),
    );
    document.body.append(this.#popup);
    if (items.length) this.editor.setAttribute("aria-controls", this.#id);
    this.#listeners = new AbortController();
    const options = { signal: this.#listeners.signal, capture: true };
    const away = (/** @type {Event} */ event) => {
      if (!this.contains(/** @type {Node | null} */ (event.target))) this.close();
    };
    // the caret would move away below the list
    for (const kind of ["wheel", "pointerdown"]) window.addEventListener(kind, away, options);
    window.addEventListener("resize", () => this.close(), options);
  }

  /** @param {DOMRect} caret */
  #place(caret) {
    if (!this.#popup) return;
    const { offsetWidth: width, offsetHeight: height } = this.#popup;
    const isBelow = caret.bottom + GAP + height <= window.innerHeight || caret.top < height + GAP;
    this.#popup.style.left = `${Math.max(GAP, Math.min(caret.left, window.innerWidth - width - GAP))}px`;
    this.#popup.style.top = `${Math.max(GAP, isBelow ? caret.bottom + GAP : caret.top - GAP - height)}px`;
  }

  /** @param {number} at */
  #mark(at) {
    this.#at = at;
    const options = this.#popup?.querySelectorAll('[role="option"]') ?? [];
    for (const [index, option] of options.entries()) option.setAttribute("aria-selected", String(index === at));
    if (!options[at]) return;
    this.editor.setAttribute("aria-activedescendant", options[at].id);
    options[at].scrollIntoView({ block: "nearest" });
  }

  /** @param {number} at */
  #take(at) {
    const reference = this.#references[at];
    this.close();
    this.choose(reference);
  }
}

/** @param {Event} event */
function stop(event) {
  event.preventDefault();
  event.stopPropagation();
}
