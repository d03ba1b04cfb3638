// The wipe at the size of the window.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { button, viewOf } from "./view.js";

/**
 * Open the wipe over the page. Escape or the button closes it; the focus is kept inside, and goes back to where it was.
 *
 * @param {import("./player.js").Player} player
 * @returns {HTMLDialogElement}
 */
export function openDialog(player) {
  const view = viewOf(player);
  const dialog = /** @type {HTMLDialogElement} */ (
    make(
      "dialog.loom-panel.loom-dialog.loom-wipe-dialog",
      { "aria-labelledby": "loom-wipe-title" },
      make(
        "div.loom-wipe-head",
        {},
        make("h2.loom-wipe-title", { id: "loom-wipe-title" }, say("Source and result")),
        button("times", "Close", () => dialog.close()),
      ),
      view.element,
    )
  );
  const before = document.activeElement;
  // keys that are typed here are none of the graph's
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  dialog.addEventListener("close", () => {
    view.close();
    dialog.remove();
    if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  /** @type {HTMLElement | null} */ (dialog.querySelector("[role=slider]"))?.focus();
  return dialog;
}
