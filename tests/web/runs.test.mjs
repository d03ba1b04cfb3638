// What a page learns of its runs after it had no connection for a while.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Graph } from "./host.mjs";

const { app } = await import("../../scripts/app.js");
const { api } = await import("../../scripts/api.js");
const { filesFrom, runOf } = await import("../../web/js/run/runs.js");

const graph = new Graph();
const [sampler, save] = [graph.add("LoomVideoSampler"), graph.add("SaveImage", {}, ["images"])];
app.rootGraph = graph;
const PROMPT = { 1: { class_type: "LoomVideoSampler", inputs: {} }, 2: { class_type: "SaveImage", inputs: { images: ["1", 0] } } };

/** Ids of prompts, and what the history has by id; an address in `broken` cannot be asked for. */
const server = { running: [], history: {}, broken: new Set(), asked: [] };
globalThis.loomServer = (path) => {
  server.asked.push(path);
  if (server.broken.has(path)) throw new Error(`no answer to ${path}`);
  const id = path.startsWith("/history/") ? path.split("/").at(-1) : null;
  const queue = { queue_running: server.running.map((each) => [0, each, PROMPT, {}, ["2"]]) };
  return { ok: true, json: async () => (id === null ? queue : id in server.history ? { [id]: server.history[id] } : {}) };
};
const entry = (filename, more = {}) => ({ outputs: { 2: { images: [{ filename }] } }, status: { status_str: "success", messages: [] }, ...more });
/** All that was asked for has been answered. */
const answered = () => new Promise((resolve) => setTimeout(resolve));
async function tell(kind, detail) {
  api.dispatchEvent(Object.assign(new Event(kind), { detail }));
  await answered();
}
async function begin(id) {
  server.running.push(id);
  await tell("execution_start", { prompt_id: id });
  await tell("progress_state", { prompt_id: id, nodes: { 1: { state: "running", value: 0, max: 1 } } });
}
/** ComfyUI's order: the message, then the history, then the count of what is queued. */
async function end(id, filename) {
  await tell("execution_success", { prompt_id: id });
  server.running.splice(server.running.indexOf(id), 1);
  server.history[id] = entry(filename);
  await tell("status", { exec_info: { queue_remaining: 0 } });
}
const shown = () => filesFrom(save)?.files.map((file) => file.filename);

beforeEach(() => {
  Object.assign(server, { running: [], history: {}, asked: [] });
  server.broken.clear();
});

test("what a run gave while there was no connection is there at its end", async () => {
  await begin("before");
  await tell("executed", { prompt_id: "before", node: "2", output: { images: [{ filename: "before.png" }] } });
  await end("before", "before.png");
  assert.ok(!server.asked.includes("/history/before")); // all of it was heard
  await begin("on");
  await tell("reconnected");
  assert.deepEqual([runOf(sampler).run.id, runOf(sampler).run.outcome, shown()], ["on", null, ["before.png"]]);
  await end("on", "on.png");
  assert.deepEqual([runOf(sampler).run.outcome, shown()], ["done", ["on.png"]]);
  await tell("status", { exec_info: { queue_remaining: 0 } });
  assert.equal(server.asked.filter((path) => path === "/history/on").length, 1);
});

test("it may end while the queue is asked for", async () => {
  await begin("swift");
  api.dispatchEvent(new Event("reconnected"));
  await end("swift", "swift.png");
  assert.deepEqual([runOf(sampler).run.outcome, shown()], ["done", ["swift.png"]]);
});

test("of a run whose beginning was not seen, too; what was heard of it stays", async () => {
  server.running.push("late");
  await tell("progress_state", { prompt_id: "late", nodes: {} });
  await tell("executed", { prompt_id: "late", node: "2", output: { images: [{ filename: "heard.png" }] } });
  await end("late", "late.png");
  assert.deepEqual(shown(), ["heard.png"]);
  server.running.push("later");
  await tell("progress_state", { prompt_id: "later", nodes: {} });
  await end("later", "later.png");
  assert.deepEqual(shown(), ["later.png"]);
});

test("a node that another stands for gives under that one's number, the last of them as in the messages", async () => {
  await begin("inner");
  server.running = [];
  const ids = ["2.0.0.1", "2.0.0.2"];
  const outputs = Object.fromEntries(ids.map((id) => [id, { images: [{ filename: `${id}.png` }] }]));
  const meta = Object.fromEntries(ids.map((id) => [id, { node_id: id, display_node: "2" }]));
  server.history.inner = entry("", { outputs, meta });
  await tell("reconnected");
  assert.deepEqual([runOf(sampler).run.outcome, shown()], ["done", ["2.0.0.2.png"]]);
});

test("a run that cannot be asked for does not keep the others from their end", async (t) => {
  const warn = t.mock.method(console, "warn", () => {});
  await begin("one");
  await begin("two");
  server.running = [];
  server.history = { one: entry("one.png"), two: entry("two.png") };
  server.broken.add("/history/one");
  await tell("reconnected");
  assert.equal(warn.mock.callCount(), 1);
  assert.deepEqual([runOf(sampler).run.id, runOf(sampler).run.outcome, shown()], ["two", "done", ["two.png"]]);
});

test("a run that ComfyUI has no record of has ended, and why is not known", async () => {
  await begin("lost");
  server.running = [];
  await tell("reconnected");
  const { run } = runOf(sampler);
  assert.deepEqual([run.id, run.outcome], ["lost", "failed"]);
  assert.equal(run.error.text, "What became of it is not known: ComfyUI has no record of it.");
});
