import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, firstSentence, gigabytes, minutes } from "../../web/js/run/format.js";
import { Run, endOf } from "../../web/js/run/record.js";
import { rolesFor, samplersOf } from "../../web/js/run/roles.js";

const node = (class_type, inputs = {}) => ({ class_type, inputs });
const PROMPT = {
  1: node("LoomVideoModelLoader"),
  2: node("EasyCache", { model: ["1", 0] }),
  3: node("LoomVideoEncoderLoader"),
  4: node("LoadImage", { image: "a.png" }),
  5: node("LoomVideoVAELoader"),
  6: node("LoomVideoSourceLatentScaler", { vae: ["5", 0], source: ["4", 0], width: 64 }),
  7: node("LoomVideoDeepstackEncode", { clip: ["3", 0], source: ["6", 0] }),
  8: node("LoomVideoSampler", { model: ["2", 0], positive: ["7", 0], latent: ["6", 1] }),
  9: node("VAEDecode", { samples: ["8", 0], vae: ["5", 0] }),
  10: node("SaveImage", { images: ["9", 0] }),
  11: node("LoomVideoSampler", { model: ["1", 0], positive: ["7", 0], latent: ["12", 0] }),
  12: node("VAEEncode", { pixels: ["9", 0], vae: ["5", 0] }),
  13: node("VAEDecode", { samples: ["11", 0], vae: ["5", 0] }),
  14: node("PreviewAny", { source: ["4", 0] }),
};

test("what each node does for a sampler", () => {
  assert.deepEqual(samplersOf(PROMPT), ["8", "11"]);
  const roles = Object.fromEntries(rolesFor(PROMPT, "8"));
  assert.deepEqual(roles, {
    1: "load", 2: "load", 3: "load", 4: "load", 5: "load", 6: "encode", 7: "encode", 8: "denoise", 9: "decode", 10: "decode", 12: "decode",
  });
  const second = rolesFor(PROMPT, "11");
  assert.equal(second.get("12"), "encode");
  assert.equal(second.get("13"), "decode");
  assert.equal(second.has("8"), false);
  assert.equal(second.has("14"), false);
});

test("a prompt without links into nodes that exist", () => {
  assert.deepEqual([...rolesFor({ 8: node("LoomVideoSampler", { model: ["99", 0], list: [1, 2, 3] }) }, "8")], [["8", "denoise"]]);
});

const state = (running, finished = [], value = 0, max = 1) =>
  Object.fromEntries([
    ...finished.map((id) => [id, { state: "finished", value: 1, max: 1, node_id: id, display_node_id: id }]),
    [running, { state: "running", value, max, node_id: running, display_node_id: running }],
  ]);
const told = (node, phase, values = {}) => ({ node, prompt_id: "p", phase, step: null, steps: null, seconds_left: null, branches: null, ...values });
const marks = (view) => Object.entries(view.marks).map(([phase, { mark, took }]) => `${phase} ${mark} ${took ?? "-"}`);

function started(from = 0) {
  const run = new Run("p", from);
  run.prompt = PROMPT;
  return run;
}

test("a run from start to end", () => {
  const run = started();
  assert.equal(run.view("8", 5).status, "waiting");
  run.progress(state("5"), 10);
  run.progress(state("6", ["5"], 1, 4), 30);
  let view = run.view("8", 50);
  assert.deepEqual([view.status, view.phase, view.node, view.part], ["running", "encode", "6", { done: 1, of: 4 }]);
  assert.deepEqual(marks(view), ["load done 20", "encode current 20", "denoise todo -", "decode todo -"]);
  run.progress(state("3", ["5", "6"]), 60);
  assert.deepEqual(marks(run.view("8", 70)), ["load current 30", "encode done 30", "denoise todo -", "decode todo -"]);
  run.progress(state("7", ["3", "5", "6"]), 80);
  run.report(told("7", "load"), 90);
  assert.equal(run.view("8", 95).phase, "load");
  run.report(told("7", "encode", { step: 0, steps: 18 }), 100);
  run.progress(state("8", ["3", "5", "6", "7"]), 110);
  assert.equal(run.view("8", 115).phase, "load");
  run.report(told("8", "load"), 120);
  run.report(told("8", "denoise", { step: 0, steps: 2, branches: ["full", "visual"] }), 130);
  view = run.view("8", 131);
  assert.deepEqual([view.phase, view.part, view.left], ["denoise", { done: 0, of: 2 }, null]);
  run.report(told("8", "denoise", { step: 1, steps: 2, seconds_left: 1.5, branches: ["full"] }), 140);
  run.progress(state("8", ["3", "5", "6", "7"], 1, 2), 141);
  view = run.view("8", 150);
  assert.deepEqual([view.phase, view.part, view.left, view.report.branches], ["denoise", { done: 1, of: 2 }, 1500, ["full"]]);
  assert.deepEqual(view.ran, ["full", "visual"]);
  run.progress(state("9", ["8"]), 160);
  run.progress(state("10", ["8", "9"]), 170);
  assert.equal(run.view("8", 175).phase, "decode");
  run.end("done", 200);
  view = run.view("8", 999);
  assert.deepEqual([view.status, view.phase, view.took], ["done", null, 200]);
  assert.deepEqual(marks(view), ["load done 70", "encode done 50", "denoise done 30", "decode done 40"]);
  run.end("failed", 300, { node: "8", text: "too late" });
  assert.equal(run.view("8", 999).status, "done");
});

test("what is in the cache is kept, and a prompt that does nothing concerns nobody", () => {
  const run = started();
  run.progress(state("9", ["1", "2", "3", "4", "5", "6", "7", "8"]), 10);
  assert.deepEqual(marks(run.view("8", 20)), ["load kept -", "encode kept -", "denoise kept -", "decode current 10"]);
  assert.equal(run.concerns("8"), true);
  const nothing = started();
  nothing.end("done", 5);
  assert.equal(nothing.concerns("8"), false);
});

test("another part of the graph is waited for", () => {
  const run = started();
  run.progress(state("14"), 10);
  assert.deepEqual([run.view("8", 20).status, run.view("8", 20).phase], ["waiting", null]);
  run.progress(state("8", ["14"]), 30);
  run.report(told("8", "denoise", { step: 0, steps: 1 }), 31);
  assert.deepEqual([run.view("8", 40).status, run.view("11", 40).status], ["running", "waiting"]);
});

test("where it stopped", () => {
  for (const [outcome, text] of [["failed", "found 98 frames"], ["cancelled", ""]]) {
    const run = started();
    run.progress(state("5"), 10);
    run.progress(state("7", ["5"]), 20);
    run.end(outcome, 30, { node: "7", text });
    const view = run.view("8", 99);
    assert.deepEqual([view.status, view.phase, view.error, view.took], [outcome, "encode", text, 30]);
    assert.deepEqual(marks(view), ["load done 10", "encode stopped 10", "denoise todo -", "decode todo -"]);
  }
});

test("a sampler that refuses what it was given was not loading", () => {
  const run = started();
  run.progress(state("8"), 10);
  run.end("failed", 20, { node: "8", text: "found denoise 0.5 with an empty latent" });
  assert.equal(run.view("8", 99).phase, "denoise");
});

test("a page that came later knows what it can", () => {
  const run = new Run("p", null);
  run.prompt = PROMPT;
  run.progress(state("8", ["1", "7"], 3, 12), 100);
  let view = run.view("8", 110);
  assert.deepEqual([view.phase, view.took, view.part], ["denoise", null, null]);
  assert.deepEqual(marks(view), ["load done -", "encode done -", "denoise current 10", "decode todo -"]);
  run.report(told("8", "denoise", { step: 4, steps: 12 }), 120);
  view = run.view("8", 130);
  assert.deepEqual(view.part, { done: 4, of: 12 });
});

test("without the prompt, the sampler's own messages do", () => {
  const run = new Run("p", 0);
  run.report(told("8", "denoise", { step: 1, steps: 12 }), 10);
  run.report(told("7", "encode"), 10);
  assert.deepEqual(run.samplers, ["8"]);
});

test("a run belongs to the workflow that queued it, not to another of equal ids", () => {
  const [mine, other] = [{ path: "workflows/a.json" }, { path: "workflows/a (2).json" }];
  const run = new Run("p", 0);
  run.workflow = "same";
  assert.equal(run.isOf({ tab: mine, id: "same" }), false); // not known yet
  run.isLearnt = true;
  assert.deepEqual([mine, other].map((tab) => run.isOf({ tab, id: "same" })), [true, true]); // as far as ids tell
  assert.equal(run.isOf({ tab: mine, id: "another" }), false);
  run.path = mine.path; // the page was loaded anew
  assert.deepEqual([other, mine].map((tab) => run.isOf({ tab, id: "same" })), [false, true]);
  mine.path = "workflows/renamed.json";
  assert.deepEqual([mine, { ...mine }, other].map((tab) => run.isOf({ tab, id: "same" })), [true, false, false]);
  run.isForeign = true;
  assert.equal(run.isOf({ tab: mine, id: "same" }), false);
});

test("files that nodes gave, and more of them", () => {
  const run = new Run("p", 0);
  const [one, two] = [{ filename: "a.png" }, { filename: "b.png" }];
  run.gave("10", [one]);
  run.gave("10", [two], { isMore: true, tab: "tab" });
  assert.deepEqual(run.given.get("10"), { files: [one, two], tab: "tab" });
  run.gave("10", [two]);
  assert.deepEqual(run.given.get("10").files, [two]);
});

test("how a run ended, by the history", () => {
  assert.equal(endOf(undefined), null);
  const blocked = ["execution_error", { node_id: "4", exception_type: "ExecutionBlocked", exception_message: "closed" }];
  const failed = ["execution_error", { node_id: 7, exception_type: "ValueError", exception_message: "found 98" }];
  const of = (status_str, ...messages) => endOf({ status_str, messages: [["execution_start", {}], ...messages] });
  assert.deepEqual(of("success", blocked), { outcome: "done", node: "", text: "" });
  assert.deepEqual(of("error", failed, blocked), { outcome: "failed", node: "7", text: "found 98" });
  assert.deepEqual(of("error", blocked, ["execution_interrupted", { node_id: "8" }]), { outcome: "cancelled", node: "8", text: "" });
  assert.equal(endOf({ status_str: "error" }).outcome, "cancelled");
});

test("two nodes at once: the one that began last counts, then the one that is left", () => {
  const run = started();
  run.progress({ ...state("6"), ...state("7") }, 10);
  assert.equal(run.view("8", 11).node, "7");
  run.progress(state("6", ["7"]), 20);
  assert.equal(run.view("8", 21).node, "6");
});

test("a node that another stands for", () => {
  const run = started();
  run.progress({ "9.0": { state: "running", value: 0, max: 1, node_id: "9.0", display_node_id: "9" } }, 10);
  assert.equal(run.view("8", 11).phase, "decode");
});

test("times, bytes and sentences", () => {
  assert.deepEqual([0, 0.44, 9.94, 9.96, 41, 725, 3729].map(clock), ["0.0s", "0.4s", "9.9s", "0:10", "0:41", "12:05", "1:02:09"]);
  assert.deepEqual([0, 7.4, 59.6].map(minutes), ["0:00", "0:07", "1:00"]);
  assert.deepEqual([0, 950_000_000, 20_212_547_584, 123.4e9].map(gigabytes), ["0.0", "0.9", "20.2", "123"]);
  assert.equal(firstSentence("found 98.5 frames; to fix: use 97. Then more.\nand more"), "found 98.5 frames; to fix: use 97");
  assert.equal(firstSentence("  no stop \n next"), "no stop");
  assert.equal(firstSentence("see a.b and c. d"), "see a.b and c. d");
});
