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
  /** @type {import("./find.js").Pair | null} */
  let pair = null;
  /** @type {ReturnType<typeof openDialog> | null} */
  let dialog = null;
  /** @type {HTMLElement | null} */
  let element = null;
  const open = () => {
    if (pair) dialog = openDialog(pair);
  };
  const button = /** @type {HTMLButtonElement} */ (
    make("button.loom-wipe-open", { type: "button", onclick: open }, say("Compare source and result"))
  );
  compare(node, (state) => {
    pair = typeof state === "string" ? null : state;
    button.disabled = !pair;
    if (!pair) return;
    dialog?.offer(pair);
    if (element) return;
    // only now: most samplers make something new, and have nothing to compare
    element = make("div.loom-wipe-only", {}, button);
    addPanel(node, "wipe_button", element, { height: () => HEIGHT });
    node.setDirtyCanvas?.(true, true);
  });
}
