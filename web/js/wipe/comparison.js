// The pair of a node's source and result, opened anew after each run.
// @ts-check
import { onRun } from "../run/runs.js";
import { addressOf, watch } from "../shared/graph.js";
import { onceAFrame, whileAdded } from "../shared/lifetime.js";
import { pairOf } from "./find.js";
import { opened } from "./medium.js";
import { Player } from "./player.js";

/**
 * @typedef {{player: Player} | {missing: "source" | "saver" | "run" | "waiting"} | {failure: string}} State What there is to
 *     compare, what is missing for it, or why the browser cannot show it.
 */

/**
 * Follow what a node has to compare.
 *
 * @param {any} node
 * @param {(state: State) => void} listener Told at the start and after each change.
 */
export function compare(node, listener) {
  let key = "";
  /** @type {Player | null} */
  let player = null;
  const change = async () => {
    const pair = pairOf(node);
    // what is shown belongs to the run that made it: a start that was changed since is that of the next run
    const next = typeof pair === "string" ? pair : `${addressOf(pair.source)} ${addressOf(pair.result)}`;
    if (next === key) return;
    key = next;
    player?.close();
    player = null;
    if (typeof pair === "string") return listener({ missing: pair });
    listener({ missing: "waiting" });
    const media = await Promise.allSettled([opened(pair.source), opened(pair.result)]);
    const [source, result] = media.map((one) => (one.status === "fulfilled" ? one.value : null));
    if (key === next && source && result) {
      const opened = (player = new Player(source, result, pair));
      await opened.show(0);
      return key === next ? listener({ player: opened }) : undefined;
    }
    source?.close();
    result?.close();
    if (key === next) listener({ failure: (source ? pair.result : pair.source).filename });
  };
  watch(node, change);
  whileAdded(node, () => {
    const end = onRun(onceAFrame(() => node.graph && change()));
    return () => {
      end();
      key = "";
      player?.close();
    };
  });
}
