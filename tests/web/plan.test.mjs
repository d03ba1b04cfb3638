// Lines of a memory plan by phase.
import assert from "node:assert/strict";
import { test } from "node:test";
import { partsOf } from "../../web/js/plan/parts.js";

test("a phase has its reasons, and its share of what there is", () => {
  const parts = partsOf(["832x480, on a GPU with 12 GB", "prompt: 9.0 of 12.0 GB", "- one", "- two", "decode: 6.0 of 12.0 GB", "Assumed: bf16."]);
  assert.deepEqual(parts, [
    { title: "", share: null, lines: ["832x480, on a GPU with 12 GB"] },
    { title: "prompt: 9.0 of 12.0 GB", share: 0.75, lines: ["one", "two"] },
    { title: "decode: 6.0 of 12.0 GB", share: 0.5, lines: [] },
    { title: "", share: null, lines: ["Assumed: bf16."] },
  ]);
});

test("ordinary memory has no share", () => {
  assert.deepEqual(partsOf(["prompt: 16.8 GB of ordinary memory", "- why"]), [{ title: "prompt: 16.8 GB of ordinary memory", share: null, lines: ["why"] }]);
});
