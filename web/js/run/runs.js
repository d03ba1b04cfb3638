// The runs of this page, kept up to date from the server's messages, which concern the prompts of this page alone.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { api } from "../../../../scripts/api.js";
import { neededFor } from "../preflight/answers.js";
import { queryOf } from "../shared/files.js";
import { openTab, placeOf } from "../shared/graph.js";
import { say } from "../shared/text.js";
import { pathBefore, queuedHere } from "./queued.js";
import { Run, endOf } from "./record.js";
import "./words.js";

/** @typedef {import("./record.js").Report} Report */
/** @typedef {import("../shared/files.js").StoredFile} StoredFile */

const KEPT = 32;
/** Milliseconds in which a graph that was opened has become that of the open workflow. */
const SETTLED = 10_000;
/** Newest last. @type {Run[]} */
const runs = [];
/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {{tab: any, until: number}} */
const settling = { tab: null, until: 0 };

/** Hear of every change of a run, and of another workflow being opened. @param {() => void} listener @returns {() => void} Ends it. */
export function onRun(listener) {
  listeners.add(listener);
  settle();
  return () => listeners.delete(listener);
}

/** ComfyUI makes the nodes of a workflow before it calls it the open one, and does not tell when it does. */
function settle() {
  const isUnderWay = performance.now() < settling.until;
  settling.until = performance.now() + SETTLED;
  if (isUnderWay) return;
  const look = () => {
    if (openTab() !== settling.tab) {
      settling.tab = openTab();
      changed();
    }
    if (performance.now() < settling.until) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** The workflow whose graph is shown. */
function here() {
  return { tab: openTab(), id: /** @type {any} */ (app).rootGraph?.id ?? null };
}

/** Runs that were queued from the open workflow, newest first. */
function runsHere() {
  const workflow = here();
  return runs.filter((run) => run.isOf(workflow)).reverse();
}

/**
 * The newest run that concerns a sampler.
 *
 * @param {any} node
 * @returns {{run: Run, id: string} | null} With the sampler's id in it.
 */
export function runOf(node) {
  for (const run of runsHere()) {
    const mine = run.samplers.filter((id) => placeOf(id)?.node === node);
    const id = mine.find((each) => run.running.has(each)) ?? mine.find((each) => !run.outcome || run.concerns(each));
    if (id !== undefined && (!run.outcome || run.concerns(id))) return { run, id };
  }
  return null;
}

/**
 * The files that the newest run of the open workflow had from a node.
 *
 * @param {any} node
 * @returns {{files: StoredFile[], run: string} | null} With the run's id; null where none is known of.
 */
export function filesFrom(node) {
  for (const run of runsHere())
    for (const [id, { files }] of run.given) if (files.length && placeOf(id)?.node === node) return { files, run: run.id };
  return null;
}

/** The inputs of a node as a run was queued with them. @param {any} node @param {string} id Of the run. @returns {Record<string, any> | null} */
export function queuedInputs(node, id) {
  const prompt = runs.find((run) => run.id === id)?.prompt ?? {};
  const at = Object.keys(prompt).find((each) => placeOf(each)?.node === node);
  return at === undefined ? null : prompt[at].inputs;
}

/**
 * Whether ComfyUI shows a file only because a run of another workflow gave it while this one was open: what a run gives it
 * shows on the node of that number in whatever graph is there.
 *
 * @param {StoredFile} file
 */
export function isStray(file) {
  const { tab } = here();
  const key = String(queryOf(file));
  const gave = (/** @type {Run} */ run) =>
    [...run.given.values()].some((each) => each.tab === tab && each.files.some((other) => String(queryOf(other)) === key));
  return runs.some(gave) && !runsHere().some(gave);
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
    // a night of prompts from elsewhere does not take away what was run here
    if (runs.length > KEPT) runs.splice(Math.max(runs.findIndex((each) => each.isForeign), 0), 1);
    void learn(run);
  }
  return run;
}

/** Find out what is in a run's prompt, and which workflow it was queued from. @param {Run} run */
async function learn(run) {
  try {
    const mine = await queuedHere(run.id);
    if (mine) [run.prompt, run.tab] = [mine.prompt, mine.tab];
    else await ask(run);
  } catch (error) {
    console.warn("LoomVideo: what the queued prompt has in it is not known.", error);
  }
  run.isLearnt = true;
  changed();
}

/**
 * Ask the server of a run that this page did not queue since it was loaded. The host has no address for the prompt of one run that is
 * under way (/history has it after the end, /api/jobs its state alone), so this is the whole queue, once for such a run.
 *
 * @param {Run} run
 */
async function ask(run) {
  const queue = await (await api.fetchApi("/queue")).json();
  const item = queue.queue_running?.find((/** @type {any} */ each) => each[1] === run.id) ?? (await past(run.id))?.prompt;
  if (!item) return;
  run.prompt = neededFor(item[2], item[4]);
  run.workflow = item[3]?.extra_pnginfo?.workflow?.id ?? null;
  run.path = pathBefore(run.id);
  // the steps of a prompt that came without a page are told to all of them
  run.isForeign = item[3]?.client_id !== api.clientId;
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

/** @param {any} output Of a node. @returns {StoredFile[]} */
function filesOf(output) {
  return output?.images ?? output?.video ?? output?.gifs ?? [];
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
hear("executed", ({ prompt_id, display_node, node, output, merge }) => {
  runFor(prompt_id, null).gave(String(display_node ?? node), filesOf(output), { isMore: Boolean(merge), tab: openTab() });
});
hear("execution_success", (detail) => ended(detail, "done"));
hear("execution_interrupted", (detail) => ended(detail, "cancelled"));
hear("execution_error", (detail) => {
  // such a message is of a branch that a node closed on purpose; the rest of the prompt goes on
  if (detail.exception_type !== "ExecutionBlocked") ended(detail, "failed");
});

// what was told while there was no connection
api.addEventListener(/** @type {any} */ ("reconnected"), () => {
  const open = runs.filter((each) => !each.outcome);
  for (const run of open) run.isBehind = true; // before any is asked for: it may end until the answer comes
  return catchUp(open);
});
// the history has a run a moment after its end was told, and this is told then, with a count of what is queued
api.addEventListener(/** @type {any} */ ("status"), (/** @type {any} */ { detail }) => {
  if (detail) return catchUp(runs.filter((each) => each.outcome && each.isBehind));
});

/** @param {Run[]} behind Of which something was not heard. */
async function catchUp(behind) {
  for (const run of behind) {
    try {
      await complete(run);
    } catch (error) {
      console.warn("LoomVideo: what became of a run while there was no connection is not known.", error);
    }
    changed();
  }
}

/** Learn what a run gave and how it ended, if it has; what the page heard stays as it is. @param {Run} run */
async function complete(run) {
  const queue = await (await api.fetchApi("/queue")).json();
  if (queue.queue_running?.some((/** @type {any} */ each) => each[1] === run.id)) return;
  const entry = await past(run.id);
  const heard = new Set(run.given.keys());
  for (const [id, output] of Object.entries(entry?.outputs ?? {})) {
    const node = String(entry.meta?.[id]?.display_node ?? id);
    if (!heard.has(node)) run.gave(node, filesOf(output));
  }
  run.isBehind = false;
  const unknown = say("What became of it is not known: ComfyUI has no record of it.");
  const { outcome, node, text } = endOf(entry?.status) ?? { outcome: "failed", node: "", text: unknown };
  run.end(outcome, Date.now(), { node, text });
}
