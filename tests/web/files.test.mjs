import assert from "node:assert/strict";
import { test } from "node:test";
import { storedFile } from "../../web/js/shared/files.js";

test("a file of a loader's widget", () => {
  assert.deepEqual(storedFile("a.png"), { filename: "a.png", subfolder: "", type: "input" });
  assert.deepEqual(storedFile("x/y/a b [1].png [output]"), { filename: "a b [1].png", subfolder: "x/y", type: "output" });
  for (const nothing of ["", null, undefined, 3]) assert.equal(storedFile(nothing), null);
});
