// Between the button "Run" and the queue.
//
// No frontend from 1.49 to 1.58 has a public hook that can hold a prompt back: `promptQueueing` only tells, and may not be cancelled.
// Of the two functions that could be wrapped, `app.queuePrompt` is the outer one. Every way to queue goes through it once, whatever
// the batch count, and false is its own word for "nothing was queued". `api.queuePrompt` is called for each prompt of a batch,
// holds up all others meanwhile, can only refuse by an error that is shown as one, and has arguments that packs which wrap it lose.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { openTab } from "../shared/graph.js";

/** @typedef {(options: {outputs?: string[], isAutomatic: boolean}) => Promise<boolean>} Gate Whether to go on. */

/**
 * Ask before each run. If the gate itself fails, runs go through, and it is not asked again.
 *
 * @param {Gate} gate
 */
export function guardQueue(gate) {
  const host = /** @type {any} */ (app);
  const hadOwn = Object.hasOwn(host, "queuePrompt");
  const original = host.queuePrompt;
  let isWhole = true;
  /** @type {Promise<boolean> | null} */
  let asked = null;

  /** @this {any} @param {any[]} words */
  async function queuePrompt(...words) {
    if (isWhole) {
      const options = Array.isArray(words[2]) ? { queueNodeIds: words[2] } : (words[2] ?? {});
      const workflow = openTab();
      try {
        // what is queued while a question is open shares its answer
        asked ??= gate({ outputs: options.queueNodeIds, isAutomatic: options.intent?.trigger_source === "auto_queue" });
        if (!(await asked)) return false;
        // whoever goes to another workflow meanwhile did not ask for that one to be run
        if (openTab() !== workflow) return false;
      } catch (error) {
        restore();
        console.error("LoomVideo: graphs are no longer checked before a run.", error);
      } finally {
        asked = null;
      }
    }
    return original.apply(this, words);
  }

  function restore() {
    isWhole = false; // another pack may have wrapped this function in turn
    if (host.queuePrompt !== queuePrompt) return;
    if (hadOwn) host.queuePrompt = original;
    else delete host.queuePrompt;
  }

  host.queuePrompt = queuePrompt;
}
