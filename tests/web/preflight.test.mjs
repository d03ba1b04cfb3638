import assert from "node:assert/strict";
import { test } from "node:test";
import { hasOurs, isOurs, neededFor, ofLevel, readAnswer } from "../../web/js/preflight/answers.js";

const prompt = {
  1: { class_type: "LoadImage", inputs: { image: "a.png" } },
  2: { class_type: "LoomVideoSourceLatentScaler", inputs: { source: ["1", 0], width: 832 } },
  3: { class_type: "SaveVideo", inputs: { video: ["2", 1], codec: "auto" } },
  4: { class_type: "SaveImage", inputs: { images: ["1", 0] } },
  "5:6": { class_type: "PreviewImage", inputs: { images: ["9", 0] } },
};

test("nodes of the pack", () => {
  assert.ok(hasOurs(prompt));
  assert.ok(!hasOurs({}));
  assert.deepEqual(["LoomVideoSampler", "MyLoomVideo", undefined, 3].map(isOurs), [true, false, false, false]);
});

test("what a run of some outputs needs", () => {
  assert.equal(neededFor(prompt, undefined), prompt);
  assert.equal(neededFor(prompt, []), prompt);
  assert.deepEqual(Object.keys(neededFor(prompt, ["3"])), ["1", "2", "3"]);
  assert.deepEqual(Object.keys(neededFor(prompt, [4])), ["1", "4"]);
  assert.deepEqual(Object.keys(neededFor(prompt, ["5:6", "gone"])), ["5:6"]);
  const round = { 1: { class_type: "A", inputs: { x: ["2", 0] } }, 2: { class_type: "B", inputs: { x: ["1", 0] } } };
  assert.deepEqual(Object.keys(neededFor(round, ["1"])), ["1", "2"]);
});

test("answers, and what is none", () => {
  const answer = { version: 1, errors: 1, warnings: 1, findings: [{ level: "note" }, { level: "warning" }, { level: "error" }] };
  assert.equal(readAnswer(answer), answer);
  for (const nothing of [null, undefined, "?", {}, { version: 2, findings: [] }, { version: 1 }]) assert.equal(readAnswer(nothing), null);
  assert.deepEqual(ofLevel(answer, "error", "warning").map((each) => each.level), ["warning", "error"]);
  assert.deepEqual(ofLevel(null, "error"), []);
});
