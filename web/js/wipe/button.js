// The same comparison as a button, in the node that an artist watches while it runs.
// @ts-check
import { make } from "../shared/element.js";
import { addPanel, hide } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { compare } from "./comparison.js";
import { openDialog } from "./dialog.js";
import "./words.js";

const HEIGHT = 30;

/** @param {any} node */
export function attach(node) {
  /** @type {import("./player.js").Player | null} */
  let player = null;
  const element = make(
    "div.loom-wipe-only",
    {},
    make("button.loom-wipe-open", { type: "button", onclick: () => player && openDialog(player) }, say("Compare source and result")),
  );
  const widget = addPanel(node, "wipe_button", element, { height: () => HEIGHT });
  hide(widget);
  compare(node, (state) => {
    player = "player" in state ? state.player : null;
    hide(widget, !player);
    node.setDirtyCanvas?.(true, true);
  });
}
