// Undo within the editor, in steps of a word.
// @ts-check

/** @typedef {import("./editing.js").State} State */

const MOST = 500;

/** What was, and what was undone. */
export class History {
  /** @type {State[]} */
  #before = [];
  /** @type {State[]} */
  #after = [];
  /** @type {string | null} Kind of the input that the last step is made of. */
  #kind = null;
  #last = -1;

  /**
   * Note an input.
   *
   * @param {State} from As it was.
   * @param {State} to As it is.
   * @param {string} kind Inputs of the kinds "type" and "delete" that follow one another are one step, as far as a word goes.
   */
  note(from, to, kind) {
    const typed = to.text.slice(from.start, to.start);
    const since = from.text.slice(this.#before.at(-1)?.start ?? 0, from.start); // typed in this step before
    const startsWord = kind === "type" && /^\S/.test(typed) && /\S\s+$/.test(since);
    const goesOn = kind === this.#kind && kind !== "whole" && from.start === from.end && from.start === this.#last;
    if (!goesOn || startsWord || typed.includes("\n") || !this.#before.length) this.#before.push(from);
    if (this.#before.length > MOST) this.#before.shift();
    this.#after = [];
    this.#kind = kind;
    this.#last = to.start;
  }

  /** Begin a new step with the next input. */
  rest() {
    this.#kind = null;
  }

  clear() {
    this.#before = [];
    this.#after = [];
    this.#kind = null;
  }

  /** @param {State} now @returns {State | undefined} */
  undo(now) {
    return this.#move(this.#before, this.#after, now);
  }

  /** @param {State} now @returns {State | undefined} */
  redo(now) {
    return this.#move(this.#after, this.#before, now);
  }

  /** @param {State[]} from @param {State[]} to @param {State} now */
  #move(from, to, now) {
    const state = from.pop();
    if (state) to.push(now);
    this.#kind = null;
    return state;
  }
}
