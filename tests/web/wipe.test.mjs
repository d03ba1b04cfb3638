// Which frame of a source belongs to a frame of a result, and where pictures lie.
import assert from "node:assert/strict";
import { test } from "node:test";
import { contained, covering, shareAt } from "../../web/js/wipe/geometry.js";
import { lender } from "../../web/js/wipe/lending.js";
import { clamp, frameAt, middle, partner, waiting } from "../../web/js/wipe/timing.js";

const even = { resultFps: 24, sourceFps: 24, sourceFrames: 100, start: 0 };

test("clips of one rate have one number", () => {
  for (const index of [0, 1, 57, 99]) assert.equal(partner(index, even), index);
});

test("an edit that begins later has later frames of the source", () => {
  assert.equal(partner(0, { ...even, start: 0.25 }), 6);
  assert.equal(partner(10, { ...even, start: 0.26 }), 16); // the nearest frame, as the edit took it
});

test("another rate is lined up by time", () => {
  assert.deepEqual([0, 1, 2, 24].map((index) => partner(index, { ...even, sourceFps: 30 })), [0, 1, 3, 30]);
  assert.deepEqual([0, 1, 2].map((index) => partner(index, { ...even, resultFps: 12 })), [0, 2, 4]);
  // 23.976 against 24 is a frame apart after 1000 of them
  assert.equal(partner(1000, { ...even, resultFps: 24000 / 1001, sourceFrames: 5000 }), 1001);
});

test("there is no frame before the first or after the last", () => {
  assert.equal(partner(200, even), 99);
  assert.equal(partner(3, { ...even, sourceFrames: 1, start: 2 }), 0);
  assert.deepEqual([clamp(-1, 0, 5), clamp(9, 0, 5), clamp(3, 0, -1)], [0, 5, 0]);
});

test("the middle of a frame is inside it, whatever its time was rounded to", () => {
  for (const fps of [12, 24000 / 1001, 24, 25, 30, 60])
    for (const index of [0, 1, 31, 32, 1000]) {
      assert.equal(frameAt(Math.floor((index / fps) * 1e6) / 1e6, fps), index);
      assert.ok(middle(index, fps) > index / fps && middle(index, fps) < (index + 1) / fps);
    }
});

test("the clip that is ahead waits for the other", () => {
  assert.equal(waiting(0.2, 1 / 24), "source");
  assert.equal(waiting(-0.2, 1 / 24), "result");
  assert.equal(waiting(1 / 24, 1 / 24), null);
});

test("a picture lies whole in a box, or fills it", () => {
  const box = { x: 10, y: 0, width: 200, height: 100 };
  assert.deepEqual(contained({ width: 50, height: 50 }, box), { x: 60, y: 0, width: 100, height: 100 });
  assert.deepEqual(covering({ width: 50, height: 50 }, box), { x: 10, y: -50, width: 200, height: 200 });
  assert.deepEqual(contained({ width: 400, height: 200 }, box), box);
});

test("the pointer's share of a box ends at its edges", () => {
  const box = { x: 100, y: 0, width: 50, height: 1 };
  assert.deepEqual([90, 100, 125, 151].map((x) => shareAt(x, box)), [0, 0, 0.5, 1]);
});

test("what is lent is opened once, and closed after the last has given it back", async () => {
  const told = [];
  const borrow = lender(async (name) => told.push(`open ${name}`) && { name }, ({ name }) => told.push(`close ${name}`), (name) => name);
  const [one, two, other] = ["a", "a", "b"].map(borrow);
  assert.equal(await one.thing, await two.thing);
  assert.notEqual(await one.thing, await other.thing);
  one.giveBack();
  one.giveBack(); // counts once
  await Promise.resolve();
  assert.deepEqual(told, ["open a", "open b"]);
  two.giveBack();
  await Promise.resolve();
  assert.deepEqual(told, ["open a", "open b", "close a"]);
  borrow("a");
  assert.deepEqual(told.slice(3), ["open a"]);
});

test("what could not be opened is tried anew", async () => {
  let count = 0;
  const borrow = lender(async () => Promise.reject(new Error(`${(count += 1)}`)), () => assert.fail("nothing to close"), () => "key");
  const first = borrow();
  await assert.rejects(first.thing, /^Error: 1$/);
  const second = borrow();
  await assert.rejects(second.thing, /^Error: 2$/);
  first.giveBack();
  second.giveBack();
});
