// What is found by walking along the links of a graph.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Graph } from "./host.mjs";

const { app } = await import("/scripts/app.js");
const { downstream, remember, setWidget, together } = await import("../../web/js/shared/graph.js");
const { stepsOf } = await import("../../web/js/timeline/surroundings.js");
const { pairOf } = await import("../../web/js/wipe/find.js");

/** Nodes of these classes in a row. @param {Graph} graph @param {any} node @param {...string} kinds */
const row = (graph, node, ...kinds) =>
  kinds.reduce((nodes, kind) => [...nodes, graph.add(kind, {}, ["in"]).connect("in", nodes.at(-1))], [node]).slice(1);

test("what depends on a node, nearest first, each once", () => {
  const graph = new Graph();
  const first = graph.add("First", {}, ["in"]);
  const [reroute, left] = row(graph, first, "Reroute", "Left");
  const [right, end] = row(graph, first, "Right", "End");
  graph.add("Both", {}, ["a", "b"]).connect("a", end).connect("b", left);
  first.connect("in", end); // a circle, as while links are drawn
  const kinds = (options) => downstream(first, options).map((each) => each.comfyClass);
  assert.deepEqual(kinds(), ["Left", "Right", "Both", "End"]);
  assert.equal(reroute.type, "Reroute");
  assert.deepEqual(kinds({ passes: (each) => each !== right }), ["Left", "Both"]);
  assert.deepEqual(kinds({ slots: [1] }), []);
});

test("a sampler is found however far it is", () => {
  const graph = new Graph();
  const scaler = graph.add("LoomVideoSourceLatentScaler");
  const far = row(graph, scaler, ...Array.from({ length: 14 }, (_, at) => `Step${at}`)).at(-1);
  graph.add("LoomVideoSampler", { steps: 7, shift: 3, denoise: 0.5 }, ["latent"]).connect("latent", far);
  assert.deepEqual(stepsOf(scaler, 1000), { steps: 7, shift: 3, denoise: 0.5 });
});

test("an edit is compared with what is saved of it, not of the edit after it", () => {
  const graph = new Graph();
  const source = graph.add("LoadVideo", { file: "source.mp4" });
  const scaler = graph.add("LoomVideoSourceLatentScaler", { start_seconds: 1.5, fit: "contain" }, ["source"]).connect("source", source);
  const restore = graph.add("LoomVideoRestoreVideo", {}, ["source"]).connect("source", scaler);
  const [next] = row(graph, restore, "LoomVideoSourceLatentScaler", "SaveVideo");
  assert.equal(pairOf(restore), "saver", "the one behind the next edit is not it");
  assert.equal(next.comfyClass, "LoomVideoSourceLatentScaler");
  row(graph, restore, ...Array.from({ length: 9 }, (_, at) => `Step${at}`), "SaveVideo");
  assert.equal(pairOf(restore), "run");
});

test("a change of what went with its graph is no step of the workflow that is still open", () => {
  const graph = new Graph();
  const [steps, prompt] = [graph.add("LoomVideoSampler", { steps: 50 }), graph.add("LoomVideoDeepstackEncode", { prompt: "" })];
  const captured = [];
  const captureCanvasState = () => captured.push(graph.nodes.size);
  const changeTracker = { beforeChange() {}, afterChange: captureCanvasState, captureCanvasState };
  app.extensionManager = { workflow: { activeWorkflow: { changeTracker } } };
  const change = (/** @type {number} */ value) => {
    setWidget(steps, "steps", value);
    remember(prompt);
    together(prompt, () => setWidget(prompt, "prompt", `${value}`, { isStep: false }));
  };
  change(12);
  assert.deepEqual(captured, [2, 2, 2, 2]);
  graph.nodes.clear(); // as ComfyUI does before it loads another workflow, which becomes the open one only after that
  change(8);
  assert.deepEqual(captured, [2, 2, 2, 2]);
  assert.deepEqual([steps.widgets[0].value, prompt.widgets[0].value], [8, "8"]);
});
