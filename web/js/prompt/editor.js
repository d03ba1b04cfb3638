// The prompt editor of Deepstack Encode. The node's own widget `prompt` keeps the text, and is hidden while the editor stands.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { make } from "../shared/element.js";
import { isLinked, isPromoted, origin, remember, setWidget, watch, widgetOf } from "../shared/graph.js";
import { whileAdded } from "../shared/lifetime.js";
import { addPanel, hide } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { PromptField } from "./field.js";
import { named, problems, withMentions, withoutMentions } from "./mentions.js";
import { surveyOf } from "./references.js";
import "./words.js";

const LEAST = 100; // CSS pixels: three lines, and one of problems
// milliseconds without a key, after which what was typed is a step of ComfyUI's undo; ComfyUI itself waits 512 more until it keeps it
const PAUSE = 500;

/** @param {any} node */
export function attach(node) {
  new Editor(node);
}

class Editor {
  /** @type {import("./references.js").Survey} */
  #survey = { references: [], isCounted: false };
  #isWriting = false;
  #hasFailed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;
  #shown = "";
  #redraw = () => this.#guard(() => this.#draw());

  /** @param {any} node */
  constructor(node) {
    this.node = node;
    this.prompt = widgetOf(node, "prompt");
    const guarded = (/** @type {(event: any) => void} */ listener) => (/** @type {any} */ event) => this.#guard(() => listener(event));
    this.field = new PromptField(
      {
        look: (number) => this.#look(number),
        references: () => this.#survey.references,
        hint: () => this.#hint(),
        changed: (text, isWhole) => this.#write(text, isWhole),
        left: () => this.#remember(),
      },
      guarded,
    );
    this.problems = make("div.loom-prompt-problems", { role: "status" });
    this.panel = make("div.loom-prompt", {}, this.field.element, this.problems);
    this.widget = addPanel(node, "loom_prompt", this.panel, { height: () => LEAST, after: this.prompt });
    this.#listen();
    this.#guard(() => {
      this.#draw();
      hide(this.prompt); // last: only what stands may take the widget's place
    });
    watch(node, this.#redraw);
  }

  #listen() {
    const { prompt, widget } = this;
    const before = prompt.callback;
    const heard = () => this.#guard(() => this.#isWriting || this.#draw());
    prompt.callback = function (/** @type {any[]} */ ...words) {
      const answer = before?.apply(this, words);
      heard();
      return answer;
    };
    const linked = this.node.onConnectionsChange;
    const connected = () => this.#guard(() => this.#unhide());
    this.node.onConnectionsChange = function (/** @type {any[]} */ ...words) {
      const answer = linked?.apply(this, words);
      connected(); // at once: Vue asks for it only together with the link
      return answer;
    };
    const asked = this.node.onConnectInput;
    this.node.onConnectInput = function (/** @type {any[]} */ ...words) {
      const answer = asked?.apply(this, words);
      // the input of a subgraph takes over how the widget is at this moment; once it is connected, it is seen to again
      if (answer !== false && this.inputs[words[0]]?.name === "prompt" && words[3] === this.graph?.inputNode) prompt.options.hidden = false;
      return answer;
    };
    // on the canvas, the socket of a hidden widget stays where the widget was: keep it beside the editor
    widget.options.onDraw = () => (prompt.y = widget.y);
    const away = (/** @type {Event} */ event) => {
      const target = /** @type {Node | null} */ (event.target);
      if (this.panel.contains(target) || this.field.choices.contains(target)) return;
      this.field.element.blur();
      window.removeEventListener("pointerdown", away, true); // also where the node is gone, which is told to nobody
    };
    whileAdded(this.node, () => {
      const leaving = () => this.#pause && this.#remember();
      const kinds = ["pagehide", "visibilitychange"];
      // before ComfyUI hears it, which from 1.58 on keeps at once what was remembered by then
      for (const kind of kinds) window.addEventListener(kind, leaving, true);
      return () => kinds.forEach((kind) => window.removeEventListener(kind, leaving, true));
    });
    this.field.element.addEventListener("focus", () => window.addEventListener("pointerdown", away, true)); // the canvas takes no focus
    this.field.element.addEventListener("blur", () => window.removeEventListener("pointerdown", away, true));
  }

  /** Show all that there is to show, found anew. */
  #draw() {
    if (this.#hasFailed) return;
    this.#survey = surveyOf(this.node, this.#redraw);
    const isGiven = isLinked(this.node, "prompt");
    this.#unhide();
    this.panel.classList.toggle("loom-prompt-given", isGiven);
    this.field.setRole(isGiven ? this.#giver() : say("What to make, or what to change. Type @ to name a reference."), isGiven);
    this.field.show(isGiven ? "" : String(this.prompt.value ?? ""));
    this.field.refresh();
    this.#showProblems(isGiven);
  }

  /** A Vue node shows the socket of a link with its widget; a widget that is promoted to a subgraph is hidden there if it is here. */
  #unhide() {
    const isVue = app.extensionManager.setting.get("Comfy.VueNodes.Enabled") === true;
    const isShown = isVue ? isLinked(this.node, "prompt") : isPromoted(this.node, "prompt");
    if (this.#hasFailed) return;
    this.prompt.options.hidden = !isShown;
    // some frontends keep a row on the canvas for what is not hidden there, though they draw nothing in it
    if (isShown && !isVue) this.prompt.computeLayoutSize = () => ({ minHeight: 0, maxHeight: 0, minWidth: 0 });
    else delete this.prompt.computeLayoutSize;
  }

  #giver() {
    const title = origin(this.node, "prompt")?.title;
    return title ? say("The prompt comes from “{title}”.", { title }) : say("The prompt comes from outside of this subgraph.");
  }

  #hint() {
    return this.#survey.isCounted
      ? say("No reference is connected. Connect LoomVideo Reference Slots to “references” to name its pictures here.")
      : say("Which references there are is known when the graph runs. Write @Image 1 for the first.");
  }

  /** @param {number} number */
  #look(number) {
    const { references, isCounted } = this.#survey;
    const reference = references.find((each) => each.number === number) ?? null;
    return { reference, isWrong: !reference && (isCounted || number < 1) };
  }

  /** @param {boolean} isGiven */
  #showProblems(isGiven) {
    const { references, isCounted } = this.#survey;
    const found = problems(this.field.text, references.length);
    const without = isGiven ? [] : found.without.filter((number) => this.#look(number).isWrong);
    const unmentioned = isGiven || !isCounted ? [] : found.unmentioned;
    const key = JSON.stringify([without, unmentioned]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.problems.replaceChildren(
      ...this.#problem("bad", without, ["{mentions} has no reference", "{mentions} have no reference"], "Remove", withoutMentions),
      ...this.#problem("warn", unmentioned, ["{mentions} is never mentioned", "{mentions} are never mentioned"], "Mention", withMentions),
    );
  }

  /**
   * @param {string} kind @param {number[]} numbers @param {[string, string]} sentences @param {string} button
   * @param {(text: string, numbers: number[]) => string} mend
   */
  #problem(kind, numbers, [one, many], button, mend) {
    if (!numbers.length) return [];
    const mentions = named(numbers);
    const sentence = say(numbers.length > 1 ? many : one, { mentions });
    const onclick = () => this.#guard(() => this.field.replace(mend(this.field.text, numbers)));
    return [
      make(
        `div.loom-prompt-problem.loom-prompt-${kind}`,
        {},
        make("i.pi.pi-exclamation-triangle", { "aria-hidden": "true" }),
        make("span", {}, sentence),
        make("button", { type: "button", "aria-label": `${say(button)}: ${mentions}`, onclick }, say(button)),
      ),
    ];
  }

  /** @param {string} text @param {boolean} isWhole */
  #write(text, isWhole) {
    this.#isWriting = true;
    try {
      setWidget(this.node, "prompt", text, { isStep: isWhole });
    } finally {
      this.#isWriting = false;
    }
    this.#showProblems(false);
    this.#stop();
    if (!isWhole) this.#pause = setTimeout(() => this.#remember(), PAUSE);
  }

  #stop() {
    clearTimeout(this.#pause);
    this.#pause = undefined;
  }

  #remember() {
    this.#stop();
    remember(this.node);
  }

  /** Do something; if it throws, the plain widget comes back with all that was typed. @param {() => void} act */
  #guard(act) {
    if (this.#hasFailed) return;
    try {
      act();
    } catch (error) {
      this.#hasFailed = true;
      console.error("LoomVideo: the prompt editor has failed; the plain widget does the same.", error);
      this.field.choices.close();
      hide(this.prompt, false);
      this.node.removeWidget?.(this.widget);
      this.node.setDirtyCanvas?.(true, true);
    }
  }
}
