// Source and result of an edit over each other, in the node that gives the edit back.
// @ts-check
import { make } from "../shared/element.js";
import { addPanel } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { compare } from "./comparison.js";
import { openDialog } from "./dialog.js";
import { viewOf } from "./view.js";
import "./words.js";

const HEIGHT = 200; // with or without a result, so that a run does not move what lies below

/** What to do for there to be something to compare. @type {Record<string, string>} */
const MISSING = {
  source: "Source and result are compared here when the source comes from a Load Video or Load Image node.",
  saver: "Source and result are compared here when the result goes to a Save Video or Save Image node.",
  run: "After a run, source and result are compared here.",
  waiting: "Opening source and result …",
};

/** @param {any} node */
export function attach(node) {
  const element = make("div.loom-wipe");
  addPanel(node, "wipe", element, { height: () => HEIGHT });
  let close = () => {};
  compare(node, (state) => {
    close();
    close = () => {};
    if (!("player" in state)) {
      const text = "missing" in state ? say(MISSING[state.missing]) : say("This browser cannot show {name}.", { name: state.failure });
      return element.replaceChildren(make("p.loom-wipe-note", { role: "status" }, text));
    }
    const view = viewOf(state.player, { onfull: () => openDialog(state.player) });
    close = view.close;
    element.replaceChildren(view.element);
  });
}
