// Source and result of an edit over each other, in the node that gives the edit back.
// @ts-check
import { make } from "../shared/element.js";
import { addPanel } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { compare } from "./comparison.js";
import { openDialog } from "./dialog.js";
import { placeIn } from "./place.js";
import "./words.js";

const HEIGHT = 200; // with or without a result, so that a run does not move what lies below

/** What to do for there to be something to compare. @type {Record<string, string>} */
const MISSING = {
  source: "Source and result are compared here when the source comes from a Load Video or Load Image node.",
  saver: "Source and result are compared here when the result goes to a Save Video or Save Image node.",
  run: "After a run, source and result are compared here.",
};

/** @param {any} node */
export function attach(node) {
  const element = make("div.loom-wipe");
  addPanel(node, "wipe", element, { height: () => HEIGHT });
  /** @type {import("./find.js").Pair | null} */
  let pair = null;
  /** @type {ReturnType<typeof openDialog> | null} */
  let dialog = null;
  const place = placeIn(element, {
    onfull: () => {
      if (pair) dialog = openDialog(pair);
    },
  });
  compare(node, (state) => {
    pair = typeof state === "string" ? null : state;
    if (typeof state === "string") place.tell(say(MISSING[state]));
    else if (!state) place.empty();
    else {
      void place.show(state);
      dialog?.offer(state);
    }
  });
}
