// A place on the page that shows a pair, in a node or in the dialog: what is in it is opened for it, and let go of after it.
// @ts-check
import { make } from "../shared/element.js";
import { say } from "../shared/text.js";
import { keyOf } from "./find.js";
import { lender } from "./lending.js";
import { Gone, opened } from "./medium.js";
import { Player } from "./player.js";
import { viewOf } from "./view.js";

/** @typedef {import("./find.js").Pair} Pair */

const borrow = lender(playerOf, (player) => player.close(), keyOf);

/**
 * @param {Pair} pair
 * @returns {Promise<Player>} With its first frame. Fails with a sentence for the user.
 */
async function playerOf(pair) {
  const files = [pair.source, pair.result];
  const media = await Promise.allSettled(files.map(opened));
  const [source, result] = media.map((one) => (one.status === "fulfilled" ? one.value : null));
  if (source && result) {
    const player = new Player(source, result, pair);
    await player.show(0);
    return player;
  }
  source?.close();
  result?.close();
  const at = source ? 1 : 0;
  const isGone = media[at].status === "rejected" && media[at].reason instanceof Gone;
  throw new Error(say(isGone ? "{name} is no longer there." : "This browser cannot show {name}.", { name: files[at].filename }));
}

/**
 * @param {HTMLElement} element Holds it, and nothing else.
 * @param {{onfull?: () => void, onready?: () => void}} [options] What the button for the full size does (without, there is none), and what
 *     is done once a pair is shown.
 */
export function placeIn(element, { onfull, onready } = {}) {
  let clear = () => {};
  const empty = () => {
    clear();
    clear = () => {};
  };
  const tell = (/** @type {string} */ text) => element.replaceChildren(make("p.loom-wipe-note", { role: "status" }, text));
  return {
    /** Let go of what is shown. */
    empty,
    /** Show a sentence instead. @param {string} text */
    tell(text) {
      empty();
      tell(text);
    },
    /** @param {Pair} pair */
    async show(pair) {
      empty();
      tell(say("Opening source and result …"));
      const { thing, giveBack } = borrow(pair);
      let isGone = false;
      clear = () => {
        isGone = true;
        giveBack();
      };
      try {
        const player = await thing;
        if (isGone) return;
        const view = viewOf(player, { onfull });
        clear = () => {
          view.close();
          giveBack();
        };
        element.replaceChildren(view.element);
        onready?.();
      } catch (error) {
        if (!isGone) tell(error instanceof Error ? error.message : String(error));
      }
    },
  };
}
