// What this page has queued, and from which of its open workflows. Two that were opened from one template have the same workflow id and
// the same numbers of nodes; no message of the server tells them apart, and the frontend's event `promptQueued` names no prompt. So the
// answers to `api.queuePrompt` are read, which goes on as it is.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { api } from "../../../../scripts/api.js";
import { neededFor } from "../preflight/answers.js";
import { openTab } from "../shared/graph.js";

/** @typedef {import("./roles.js").Prompt} Prompt */
/** @typedef {{prompt: Prompt, tab: any}} Queued The part of a prompt that its outputs need, which is what the server runs. */

const STORE = "LoomVideo.Queued";
const KEPT = 64;
/** @type {Map<string, Queued>} Oldest first. */
const queued = new Map();
/** @type {Set<Promise<void>>} */
const asked = new Set();
/** @type {Map<string, string>} Where those were queued that an earlier load of this page has queued. */
const earlier = new Map(remembered());

/** A prompt that this page has queued since it was loaded. @param {string} id @returns {Promise<Queued | null>} */
export async function queuedHere(id) {
  // a run may be told of before the answer came that names it
  if (!queued.has(id)) await Promise.all(asked);
  return queued.get(id) ?? null;
}

/** The path of the workflow that a prompt was queued from before the page was loaded anew. @param {string} id */
export function pathBefore(id) {
  return earlier.get(id) ?? null;
}

/** The nodes whose results are saved or shown. @param {Prompt} prompt @returns {string[]} */
function outputsOf(prompt) {
  const kinds = /** @type {any} */ (window).LiteGraph?.registered_node_types ?? {};
  return Object.keys(prompt).filter((id) => kinds[prompt[id].class_type]?.nodeData?.output_node);
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
  } catch {
    return []; // what another has written there, or nothing may be read
  }
}

function listen() {
  const host = /** @type {any} */ (api); // it may get more words than this frontend's types know
  const original = host.queuePrompt;
  host.queuePrompt = function (/** @type {any[]} */ ...words) {
    const tab = openTab();
    const answer = original.apply(this, words);
    const known = Promise.resolve(answer).then(
      (/** @type {any} */ told) => {
        const prompt = words[1]?.output;
        if (!told?.prompt_id || !prompt) return;
        const outputs = words[2]?.partialExecutionTargets ?? outputsOf(prompt);
        const refused = new Set(Object.values(told.node_errors ?? {}).flatMap((/** @type {any} */ error) => error.dependent_outputs ?? []));
        const accepted = outputs.filter((/** @type {string} */ id) => !refused.has(id));
        queued.set(String(told.prompt_id), { prompt: neededFor(prompt, accepted), tab });
        if (queued.size > KEPT) queued.delete(/** @type {string} */ (queued.keys().next().value));
      },
      () => {}, // refused; who asked hears of it
    );
    asked.add(known);
    void known.then(() => asked.delete(known));
    return answer;
  };
  addEventListener("pagehide", () => {
    const paths = [...earlier, ...[...queued].map(([id, { tab }]) => [id, tab?.path])];
    try {
      sessionStorage.setItem(STORE, JSON.stringify(paths.filter(([, path]) => path).slice(-KEPT)));
    } catch {
      // full, or not allowed: after a reload the workflow's id has to do
    }
  });
}

listen();
