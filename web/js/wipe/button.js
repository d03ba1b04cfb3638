// The same comparison as a button, in the node that an artist watches while it runs.
// @ts-check
import { make } from "../shared/element.js";
import { addPanel } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { compare } from "./comparison.js";
import { openDialog } from "./dialog.js";
import "./words.js";

const HEIGHT = 46;

/** @param {any} node */
export function attach(node) {
  /** @type {import("./player.js").Player | null} */
  let player = null;
  /** @type {HTMLElement | null} */
  let element = null;
  const button = /** @type {HTMLButtonElement} */ (
    make("button.loom-wipe-open", { type: "button", onclick: () => player && openDialog(player) }, say("Compare source and result"))
  );
  compare(node, (state) => {
    player = "player" in state ? state.player : null;
    button.disabled = !player;
    if (!player || element) return;
    // only now: most samplers make something new, and have nothing to compare
    element = make("div.loom-wipe-only", {}, button);
    addPanel(node, "wipe_button", element, { height: () => HEIGHT });
    node.setDirtyCanvas?.(true, true);
  });
}
