// The question to the server. Whatever goes wrong with it is no answer, and without one nobody is kept from queueing.
// @ts-check
import { api } from "../../../../scripts/api.js";
import { readAnswer } from "./answers.js";

/** @typedef {import("./answers.js").Answer} Answer */

/** Milliseconds that a run waits for an answer. */
export const PATIENCE = 3000;

/**
 * What a prompt would run into.
 *
 * @param {import("./answers.js").Prompt} prompt
 * @param {{patience?: number, hasReport?: boolean}} [options] Milliseconds until it is given up; with a text for an issue or not.
 * @returns {Promise<Answer | null>} Null where the server does not know the question, fails, or takes too long.
 */
export async function ask(prompt, { patience = PATIENCE, hasReport = false } = {}) {
  try {
    const reply = await api.fetchApi("/loomvideo/preflight", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt, report: hasReport }),
      signal: AbortSignal.timeout(patience),
    });
    return reply.ok ? readAnswer(await reply.json()) : null;
  } catch (error) {
    console.info("LoomVideo: this graph was not checked.", error);
    return null;
  }
}
