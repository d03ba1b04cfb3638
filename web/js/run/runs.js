// The runs of this page, kept up to date from the server's messages, which concern the prompts of this page alone.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { api } from "../../../../scripts/api.js";
import { placeOf } from "../shared/graph.js";
import { Run } from "./record.js";

/** @typedef {import("./record.js").Report} Report */

const KEPT = 12;
/** Newest last. @type {Run[]} */
const runs = [];
/** @type {Set<() => void>} */
const listeners = new Set();

/** Hear of every change of a run. @param {() => void} listener @returns {() => void} Ends it. */
export function onRun(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * The newest run that concerns a sampler.
 *
 * @param {any} node
 * @returns {{run: Run, id: string} | null} With the sampler's id in it.
 */
export function runOf(node) {
  const workflow = node.graph?.rootGraph?.id ?? /** @type {any} */ (app).rootGraph?.id ?? null;
  for (const run of [...runs].reverse()) {
    if (run.workflow && workflow && run.workflow !== workflow) continue;
    const mine = run.samplers.filter((id) => placeOf(id)?.node === node);
    const id = mine.find((each) => run.running.has(each)) ?? mine.find((each) => !run.outcome || run.concerns(each));
    if (id !== undefined && (!run.outcome || run.concerns(id))) return { run, id };
  }
  return null;
}

function changed() {
  for (const listener of listeners) listener();
}

/**
 * The run of a prompt; one that was not heard of is a new one.
 *
 * @param {unknown} prompt
 * @param {number | null} from When it began; null if that was not seen, as after the page was loaded anew.
 */
function runFor(prompt, from) {
  const id = String(prompt);
  let run = runs.find((each) => each.id === id);
  if (!run) {
    run = new Run(id, from);
    runs.push(run);
    runs.splice(0, Math.max(runs.length - KEPT, 0));
    void learn(run);
  }
  return run;
}

/** Ask the server what is in a run's prompt. @param {Run} run */
async function learn(run) {
  try {
    const queue = await (await api.fetchApi("/queue")).json();
    const item = queue.queue_running?.find((/** @type {any} */ each) => each[1] === run.id) ?? (await past(run.id))?.prompt;
    if (!item) return;
    run.prompt = item[2];
    run.workflow = item[3]?.extra_pnginfo?.workflow?.id ?? null;
    changed();
  } catch (error) {
    console.warn("LoomVideo: what the queued prompt has in it is not known.", error);
  }
}

/** What the history has of a prompt. @param {string} id @returns {Promise<any>} Undefined before its end. */
async function past(id) {
  return (await (await api.fetchApi(`/history/${id}`)).json())[id];
}

/** @param {string} kind @param {(detail: any) => void} listener */
function hear(kind, listener) {
  api.addEventListener(/** @type {any} */ (kind), (/** @type {any} */ { detail }) => {
    if (!detail?.prompt_id) return;
    listener(detail);
    changed();
  });
}

/** @param {any} detail @param {"done" | "failed" | "cancelled"} outcome */
function ended(detail, outcome) {
  // a cancel is told to every page, also to those whose run it was not
  const run = runs.find((each) => each.id === detail.prompt_id);
  run?.end(outcome, Date.now(), { node: String(detail.node_id ?? ""), text: detail.exception_message ?? "" });
}

hear("execution_start", (detail) => runFor(detail.prompt_id, Date.now()));
hear("progress_state", (detail) => runFor(detail.prompt_id, null).progress(detail.nodes ?? {}, Date.now()));
hear("loomvideo.progress", (/** @type {Report} */ detail) => runFor(detail.prompt_id, null).report(detail, Date.now()));
hear("execution_success", (detail) => ended(detail, "done"));
hear("execution_interrupted", (detail) => ended(detail, "cancelled"));
hear("execution_error", (detail) => {
  // such a message is of a branch that a node closed on purpose; the rest of the prompt goes on
  if (detail.exception_type !== "ExecutionBlocked") ended(detail, "failed");
});

// what ended while the connection was lost
api.addEventListener(/** @type {any} */ ("reconnected"), async () => {
  const run = runs.at(-1);
  if (!run || run.outcome) return;
  const status = (await past(run.id).catch(() => undefined))?.status;
  if (!status) return;
  const [, detail] = status.messages?.find((/** @type {any} */ [kind]) => /error|interrupted/.test(kind)) ?? [];
  ended({ prompt_id: run.id, ...detail }, status.status_str === "success" ? "done" : detail?.exception_message ? "failed" : "cancelled");
  changed();
});
