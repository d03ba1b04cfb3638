// The prompt as elements: text nodes, a chip for each mention, and a last line break that keeps the last line open. Only what
// changed is touched, so that a key costs the same in a long prompt as in a short one.
// @ts-check
import { pictureElement } from "../references/picture.js";
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { plain } from "./editing.js";
import { mentionsOf } from "./mentions.js";
import { textOf } from "./places.js";
import { difference, isSameToken, tokensOf } from "./tokens.js";

/** @typedef {import("./tokens.js").Token} Token */
/** @typedef {import("./references.js").Reference} Reference */
/** @typedef {(number: number) => {reference: Reference | null, isWrong: boolean}} Look What is known of a mention's number. */

export class PromptView {
  /** @type {Token[]} What the children of the root stand for; the last line break is behind them. */
  #tokens = [];

  /** @param {HTMLElement} root @param {Look} look */
  constructor(root, look) {
    this.root = root;
    this.look = look;
    this.rebuild("");
  }

  /** Show a text, by as few changes as there are. @param {string} text */
  draw(text) {
    const tokens = tokensOf(text);
    const { start, end, endAfter } = difference(this.#tokens, tokens, isSameToken);
    const old = this.#tokens.slice(start, end);
    const made = tokens.slice(start, endAfter);
    if (old.length === 1 && made.length === 1 && old[0].number === null && made[0].number === null) {
      const range = difference(old[0].text, made[0].text);
      const node = /** @type {Text} */ (this.root.childNodes[start]);
      node.replaceData(range.start, range.end - range.start, made[0].text.slice(range.start, range.endAfter));
    } else {
      for (const child of [...this.root.childNodes].slice(start, end)) child.remove();
      const before = this.root.childNodes[start];
      if (made.length) before.before(...made.map((token) => this.#made(token)));
    }
    this.#tokens = tokens;
  }

  /** Show a text anew, after something else has changed the elements. @param {string} text */
  rebuild(text) {
    this.#tokens = tokensOf(text);
    this.root.replaceChildren(...this.#tokens.map((token) => this.#made(token)), make("br", { "data-end": true }));
  }

  /** Take over what the browser itself has changed, as in a composition. @returns {string} The text that there is now. */
  adopt() {
    const text = plain(textOf(this.root));
    this.root.normalize();
    const children = /** @type {any[]} */ ([...this.root.childNodes]);
    const last = children.pop();
    const isOwn = last?.dataset?.end !== undefined && children.every((child) => child instanceof Text || child.dataset?.text !== undefined);
    if (!isOwn) this.rebuild(text);
    else {
      this.#tokens = children.map((child) => ({ text: textOf(child), number: mentionsOf(child.dataset?.text ?? "")[0]?.number ?? null }));
      this.draw(text);
    }
    return text;
  }

  /** Show in the chips what is known of the references now. */
  refresh() {
    for (const [index, token] of this.#tokens.entries())
      if (token.number !== null) dress(/** @type {HTMLElement} */ (this.root.childNodes[index]), token.number, this.look(token.number));
  }

  /** @param {Token} token @returns {Node} */
  #made({ text, number }) {
    if (number === null) return document.createTextNode(text);
    const chip = make("span.loom-prompt-chip", { contenteditable: "false", "data-text": text, spellcheck: "false", translate: "no" });
    dress(chip, number, this.look(number));
    return chip;
  }
}

/** @param {HTMLElement} chip @param {number} number @param {ReturnType<Look>} found */
function dress(chip, number, { reference, isWrong }) {
  const key = JSON.stringify([number, reference, isWrong]);
  if (chip.dataset.look === key) return;
  chip.dataset.look = key;
  chip.classList.toggle("loom-prompt-wrong", isWrong);
  chip.title = isWrong ? say("@Image {number} has no reference", { number }) : (reference?.name ?? "");
  chip.replaceChildren(
    thumbnail(reference, isWrong),
    make("span", {}, `@Image ${number}`),
    ...(isWrong ? [make("span.loom-prompt-unseen", {}, ` (${say("no reference")})`)] : []),
  );
}

/**
 * A reference's picture, or what stands for it.
 *
 * @param {Reference | null} reference
 * @param {boolean} [isWrong]
 */
export function thumbnail(reference, isWrong = false) {
  const icon = make(`i.pi.${isWrong ? "pi-exclamation-triangle" : "pi-image"}`, { "aria-hidden": "true" });
  const { address = null, box = null } = reference ?? {};
  return make("span.loom-prompt-picture", {}, address ? pictureElement(address, { box, instead: icon, isFilling: true }) : icon);
}
