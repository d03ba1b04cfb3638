// The pair of a node's source and result, found anew after each run. Nothing of either is loaded.
// @ts-check
import { onRun } from "../run/runs.js";
import { watch } from "../shared/graph.js";
import { onceAFrame, whileAdded } from "../shared/lifetime.js";
import { keyOf, pairOf } from "./find.js";

/** @typedef {import("./find.js").Pair} Pair */

/**
 * Follow what a node has to compare.
 *
 * @param {any} node
 * @param {(state: Pair | "source" | "saver" | "run" | null) => void} listener Told at the start and after each change; null once the
 *     node is gone.
 */
export function compare(node, listener) {
  let key = "";
  const change = () => {
    const found = pairOf(node);
    // a start that was changed since is that of the next run
    const next = typeof found === "string" ? found : keyOf(found);
    if (next === key) return;
    key = next;
    listener(found);
  };
  watch(node, change);
  whileAdded(node, () => {
    let isGone = false;
    const end = onRun(onceAFrame(() => isGone || change()));
    return () => {
      end();
      isGone = true;
      key = "";
      listener(null);
    };
  });
}
