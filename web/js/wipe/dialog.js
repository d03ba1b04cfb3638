// The wipe at the size of the window.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { keyOf } from "./find.js";
import { placeIn } from "./place.js";
import { button } from "./view.js";

/** @typedef {import("./find.js").Pair} Pair */

/**
 * Open the wipe over the page. Escape or the button closes it; the focus is kept inside, and goes back to where it was.
 *
 * @param {Pair} pair What is shown until another is asked for, whatever runs meanwhile.
 * @returns {{offer: (newer: Pair) => void}} Says that there is a newer result, with a button that shows it.
 */
export function openDialog(pair) {
  let [shown, offered] = [pair, pair];
  const body = make("div.loom-wipe");
  const place = placeIn(body, {
    onready: () => /** @type {HTMLElement | null} */ (body.querySelector("[role=slider]"))?.focus(),
  });
  const close = button("times", "Close", () => dialog.close());
  const news = make("span.loom-wipe-news", { role: "status" });
  const newer = make("button.loom-wipe-open", { type: "button", onclick: () => show(offered) }, say("Show the newer result"));
  const show = (/** @type {Pair} */ next) => {
    [shown, offered] = [next, next];
    if (news.contains(document.activeElement)) close.focus();
    news.replaceChildren();
    void place.show(shown);
  };
  const title = make("h2.loom-wipe-title", { id: "loom-wipe-title" }, say("Source and result"));
  const dialog = /** @type {HTMLDialogElement} */ (
    make(
      "dialog.loom-panel.loom-dialog.loom-wipe-dialog",
      { "aria-labelledby": "loom-wipe-title" },
      make("div.loom-wipe-head", {}, title, news, close),
      body,
    )
  );
  const before = document.activeElement;
  // keys that are typed here are none of the graph's
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  dialog.addEventListener("close", () => {
    place.empty();
    dialog.remove();
    if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  show(pair);
  return {
    offer(next) {
      offered = next;
      if (keyOf(offered) === keyOf(shown)) news.replaceChildren();
      else if (!news.contains(newer)) news.replaceChildren(newer);
    },
  };
}
