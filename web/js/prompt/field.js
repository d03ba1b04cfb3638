// The editor itself. It takes each input from the browser before it is done, does it on the plain text, and shows that; only a
// composition (of an input method) is the browser's, and is taken over at its end.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { rangeIn, rectAt, reveal, select, selectionIn } from "./caret.js";
import { Choices } from "./choices.js";
import { deleted, matching, mentioned, plain, typedMention, replaced } from "./editing.js";
import { History } from "./history.js";
import { carried } from "./tokens.js";
import { PromptView } from "./view.js";

/** @typedef {import("./editing.js").State} State */
/** @typedef {import("./references.js").Reference} Reference */
/**
 * @typedef {object} Surroundings
 * @property {import("./view.js").Look} look
 * @property {() => Reference[]} references
 * @property {() => string} hint What to do where there are none.
 * @property {(text: string, isWhole: boolean) => void} changed `isWhole`: nothing of the same step follows.
 * @property {() => void} left The focus is elsewhere.
 */

export class PromptField {
  #text = "";
  #caret = { start: 0, end: 0 };
  #isComposing = false;
  #isReadOnly = false;
  /** @type {string | null} What others have set during a composition; what was composed goes before it. */
  #missed = null;
  /** @type {number | null} Where the @ is whose list was closed by Escape. */
  #dismissed = null;
  #history = new History();

  /** @param {Surroundings} surroundings @param {(listener: (event: any) => void) => (event: any) => void} guarded */
  constructor(surroundings, guarded) {
    this.surroundings = surroundings;
    this.element = make("div.loom-prompt-field", {
      role: "textbox",
      "aria-multiline": "true",
      "aria-label": say("Prompt"),
      "aria-autocomplete": "list",
      contenteditable: "true",
      spellcheck: String(Boolean(app.extensionManager?.setting?.get("Comfy.TextareaWidget.Spellcheck"))),
      tabindex: "0",
    });
    // ComfyUI leaves Ctrl+Z to the text that has the focus; before 1.50 it knows one by this
    Object.defineProperty(this.element, "type", { value: "textarea" });
    this.view = new PromptView(this.element, surroundings.look);
    this.choices = new Choices(
      this.element,
      guarded((reference) => this.#choose(reference)),
    );
    /** @type {Record<string, (event: any) => void>} */
    const listeners = {
      beforeinput: (event) => this.#beforeInput(event),
      input: () => this.#isComposing || this.#adopt(),
      compositionstart: () => this.#compose(),
      compositionend: () => this.#adopt(),
      keydown: (event) => this.#keyDown(event),
      copy: (event) => this.#copy(event),
      cut: (event) => this.#copy(event) && this.#change(deleted(this.#state(), "Backward"), "whole"),
      paste: (event) => this.#paste(event),
      blur: () => this.#leave(),
    };
    for (const [kind, listener] of Object.entries(listeners)) this.element.addEventListener(kind, guarded(listener));
    this.show("");
  }

  get text() {
    return this.#text;
  }

  /** Show a text that others have set. @param {string} text */
  show(text) {
    if (this.#isComposing) {
      this.#missed = text;
      return;
    }
    this.element.classList.toggle("loom-prompt-empty", !text);
    if (text === this.#text) return;
    const { start, end } = this.#state();
    const [before, after] = [this.#text, text];
    this.#history.clear();
    this.choices.close();
    this.#draw({ text, start: carried(before, after, start), end: carried(before, after, end) });
  }

  /** Show what is known of the references now, in the chips and in the list. */
  refresh() {
    if (this.#isComposing) return;
    this.view.refresh();
    if (this.choices.isOpen) this.#offer();
  }

  /** @param {string} placeholder Shown in place of an empty text. @param {boolean} isReadOnly */
  setRole(placeholder, isReadOnly) {
    this.#isReadOnly = isReadOnly;
    const values = { contenteditable: String(!isReadOnly), "aria-readonly": String(isReadOnly), "data-placeholder": placeholder, "aria-placeholder": placeholder };
    for (const [name, value] of Object.entries(values))
      if (this.element.getAttribute(name) !== value) this.element.setAttribute(name, value);
  }

  /** Set the whole text, as a step that can be undone here. @param {string} text */
  replace(text) {
    this.#change({ text, start: text.length, end: text.length }, "whole");
  }

  /** @returns {State} */
  #state() {
    this.#caret = selectionIn(this.element) ?? this.#caret;
    const length = this.#text.length;
    return { text: this.#text, start: Math.min(this.#caret.start, length), end: Math.min(this.#caret.end, length) };
  }

  /** @param {State} state */
  #draw(state) {
    this.#text = state.text;
    this.#caret = { start: state.start, end: state.end };
    this.view.draw(state.text);
    this.element.classList.toggle("loom-prompt-empty", !state.text);
    if (document.activeElement !== this.element) return;
    select(this.element, state.start, state.end);
    reveal(this.element, state.end);
  }

  /** @param {State} to @param {"type" | "delete" | "whole"} kind */
  #change(to, kind) {
    const from = this.#state();
    if (to.text === from.text || this.#isReadOnly) return;
    this.#history.note(from, to, kind);
    this.#draw(to);
    this.surroundings.changed(to.text, kind === "whole");
    this.#offer();
  }

  /** @param {"undo" | "redo"} way */
  #restore(way) {
    const state = this.#history[way](this.#state());
    if (!state) return;
    this.choices.close();
    this.#draw(state);
    this.surroundings.changed(state.text, false);
  }

  /** @param {InputEvent} event */
  #beforeInput(event) {
    const { inputType } = event;
    if (this.#isComposing || /Composition/.test(inputType)) return;
    event.preventDefault();
    const range = event.getTargetRanges()[0];
    const target = range ? rangeIn(this.element, range) : null;
    const state = this.#state();
    if (inputType === "historyUndo") this.#restore("undo");
    else if (inputType === "historyRedo") this.#restore("redo");
    else if (inputType.startsWith("delete")) {
      const isCharacter = inputType.startsWith("deleteContent") || !target;
      const way = inputType.endsWith("Forward") ? "Forward" : "Backward";
      this.#change(deleted(state, way, isCharacter ? null : [target.start, target.end]), isCharacter ? "delete" : "whole");
    } else if (inputType === "insertText") this.#change(replaced(state, event.data ?? ""), state.start === state.end ? "type" : "whole");
    else if (/^insert(LineBreak|Paragraph)$/.test(inputType)) this.#change(replaced(state, "\n"), "type");
    else if (inputType.startsWith("insert")) {
      const data = event.data ?? event.dataTransfer?.getData("text/plain") ?? "";
      this.#change(replaced({ ...state, ...target }, plain(data)), "whole");
    }
  }

  #compose() {
    this.#state();
    this.#isComposing = true;
    this.choices.close(); // the input method has a list of its own, and the keys
    this.element.classList.remove("loom-prompt-empty");
  }

  /** Take over what the browser has done: a composition, or what cannot be prevented. */
  #adopt() {
    this.#isComposing = false;
    const from = { text: this.#text, ...this.#caret };
    const caret = selectionIn(this.element) ?? this.#caret;
    const text = this.view.adopt();
    const to = { text, start: Math.min(caret.start, text.length), end: Math.min(caret.end, text.length) };
    const missed = this.#missed;
    this.#missed = null;
    this.#draw(to);
    if (text === from.text && missed !== null) this.show(missed);
    if (text === from.text) return;
    this.#history.note(from, to, "whole");
    this.surroundings.changed(text, false);
    this.#offer();
  }

  /** @param {KeyboardEvent} event */
  #keyDown(event) {
    if (event.isComposing || event.keyCode === 229 || this.#isReadOnly) return;
    const query = typedMention(this.#state());
    const isUndo = (event.ctrlKey || event.metaKey) && !event.altKey && /^[zy]$/i.test(event.key);
    if (this.choices.press(event)) {
      if (event.key === "Escape") this.#dismissed = query?.start ?? null;
      event.stopPropagation();
    } else if (isUndo) this.#restore(event.shiftKey || event.key.toLowerCase() === "y" ? "redo" : "undo");
    else return;
    event.preventDefault();
  }

  /** Open the list where a mention is being typed, else close it. */
  #offer() {
    const state = this.#state();
    const query = document.activeElement === this.element ? typedMention(state) : null;
    if (!query || query.start !== this.#dismissed) this.#dismissed = null;
    const all = this.surroundings.references();
    const found = query ? matching(all, query.filter) : [];
    const isHinted = query !== null && !all.length && "image".startsWith(query.filter.toLowerCase());
    if (query && this.#dismissed === null && (found.length || isHinted))
      this.choices.open(found, rectAt(this.element, query.start), this.surroundings.hint());
    else this.choices.close();
  }

  /** @param {Reference} reference */
  #choose({ number }) {
    const state = this.#state();
    const query = typedMention(state);
    if (query) this.#change(mentioned(state, query.start, number), "whole");
  }

  /** @param {ClipboardEvent} event */
  #copy(event) {
    const { text, start, end } = this.#state();
    event.stopPropagation(); // else the nodes that are selected are copied
    event.preventDefault();
    if (start === end) return false;
    event.clipboardData?.setData("text/plain", text.slice(start, end));
    return true;
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    const data = event.clipboardData?.getData("text/plain");
    if (!data || this.#isReadOnly) return; // a picture is ComfyUI's
    event.stopPropagation();
    event.preventDefault();
    this.#change(replaced(this.#state(), plain(data)), "whole");
  }

  #leave() {
    this.choices.close();
    this.#history.rest();
    this.surroundings.left();
  }
}
