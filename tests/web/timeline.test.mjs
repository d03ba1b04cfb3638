import assert from "node:assert/strict";
import { test } from "node:test";
import { nearestFrames, snapFrames } from "../../web/js/timeline/frames.js";
import { factorAt, parseCurve, placeAlong, sigmaAt, timesteps, withPoint, writeCurve } from "../../web/js/timeline/schedule.js";
import { partOf, withCount, withPlace, withStart } from "../../web/js/timeline/trim.js";

const TEN = { fps: 30, frames: 300, seconds: 10 };
const SHORT = { fps: 24, frames: 49, seconds: 49 / 24 };
const usual = { start: 0, maxFrames: 121, fps: 24 };

test("4k + 1", () => {
  assert.deepEqual([-3, 0, 1, 4, 5, 98, 121].map(snapFrames), [1, 1, 1, 1, 5, 97, 121]);
  assert.deepEqual([0, 2, 3, 98, 99.2, 120].map(nearestFrames), [1, 1, 5, 97, 101, 121]);
});

test("the part that is edited", () => {
  assert.deepEqual(partOf({ fps: 30, frames: 121, seconds: 121 / 30 }, usual), { count: 97, taken: 121, left: 121, start: 0, end: 97 / 24, most: 97 });
  const part = partOf(TEN, usual);
  assert.deepEqual([part.count, part.taken, part.most], [121, 151, 237]);
  assert.equal(partOf(TEN, { ...usual, start: 0.17 }).start, 5 / 30); // the nearest frame
  assert.deepEqual(partOf(TEN, { ...usual, start: 10 }), { count: 0, taken: 0, left: 0, start: 10, end: 10, most: 0 });
  assert.equal(partOf(TEN, { ...usual, maxFrames: 1 }).taken, 1);
});

test("the end moves by whole latent frames, no further than the clip", () => {
  assert.equal(withCount(TEN, usual, 60).maxFrames, 61);
  assert.equal(withCount(SHORT, usual, Infinity).maxFrames, 49);
  assert.equal(withCount(SHORT, usual, -20).maxFrames, 1);
  const late = { ...usual, start: 99 };
  assert.equal(withCount(SHORT, late, 5), late);
});

test("the start moves while the end stays", () => {
  const cut = withStart(TEN, usual, 1);
  assert.deepEqual([cut.start, cut.maxFrames], [1, 97]);
  assert.ok(Math.abs(partOf(TEN, cut).end - partOf(TEN, usual).end) < 1e-3);
  assert.deepEqual(withStart(TEN, cut, 0), { ...usual, maxFrames: 121 });
  // where the clip ends it, max_frames stays as it was
  assert.deepEqual(withStart(SHORT, usual, 0.5), { start: 0.5, maxFrames: 121, fps: 24 });
  assert.equal(partOf(SHORT, withStart(SHORT, usual, 9)).count, 1);
  assert.equal(partOf(SHORT, withStart(SHORT, { ...usual, start: 9 }, 0)).count, 49);
  for (let at = 0, now = usual; at < 2; at += 0.07) {
    now = withStart(SHORT, now, at);
    const { count, end } = partOf(SHORT, now);
    assert.equal((count - 1) % 4, 0);
    assert.ok(Math.abs(end - 49 / 24) < 1e-2, `${at}: ${end}`);
  }
});

test("the whole part moves and stays as long", () => {
  const moved = withPlace(TEN, usual, 2.01);
  assert.deepEqual(moved, { ...usual, start: 2 });
  for (const far of [20, -3]) assert.equal(partOf(TEN, withPlace(TEN, usual, far)).count, 121);
  assert.deepEqual(withPlace(SHORT, usual, 1), usual);
});

const run = { steps: 12, shift: 5, denoise: 1 };

test("places of noise levels", () => {
  assert.equal(placeAlong(1, run), 0);
  assert.equal(placeAlong(0, run), 1);
  for (const each of [run, { ...run, denoise: 0.4 }, { ...run, shift: 1, steps: 50 }])
    for (const place of [0.1, 0.5, 0.99]) assert.ok(Math.abs(placeAlong(sigmaAt(place, each), each) - place) < 1e-9);
  assert.equal(timesteps(run).length, 12);
});

test("a curve as it is written", () => {
  const points = parseCurve("0:0; 1:1,\n 0.5 : .8 ");
  assert.deepEqual(points, [{ sigma: 1, factor: 1 }, { sigma: 0.5, factor: 0.8 }, { sigma: 0, factor: 0 }]);
  assert.equal(writeCurve(points), "1:1, 0.5:0.8, 0:0");
  for (const bad of ["1", "1:1:1", "2:1", "1:3", "x:1", "0.5:1, 0.50:2", "0x1:1", ":1"]) assert.equal(parseCurve(bad), null, bad);
  assert.deepEqual(parseCurve(" , "), []);
  assert.equal(factorAt(points, 0.25), 0.4);
  assert.equal(factorAt([], 0.3), 1);
});

test("points stay between their neighbours", () => {
  const points = parseCurve("1:1, 0.5:0.8, 0:0");
  assert.deepEqual(withPoint(points, 1, { sigma: 3, factor: 9 }).points[1], { sigma: 0.999, factor: 2 });
  assert.deepEqual(withPoint(points, 1, { sigma: -3, factor: -9 }).points[1], { sigma: 0.001, factor: 0 });
  const more = withPoint(points, -1, { sigma: 0.7, factor: 0.5 });
  assert.deepEqual([more.index, writeCurve(more.points)], [1, "1:1, 0.7:0.5, 0.5:0.8, 0:0"]);
  const same = withPoint(points, -1, { sigma: 0.5001, factor: 0.1 });
  assert.deepEqual([same.index, writeCurve(same.points)], [1, "1:1, 0.5:0.1, 0:0"]);
});
