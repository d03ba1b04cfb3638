import assert from "node:assert/strict";
import { test } from "node:test";
import { fitting, nativeSize } from "../../web/js/strip/fitting.js";
import { indicesOf, moved, orderAfter, reindexed } from "../../web/js/strip/order.js";
import { roomOf } from "../../web/js/strip/room.js";

test("a move takes all pictures of a slot along", () => {
  assert.deepEqual(moved(["a", "b", "c"], 2, 0), ["c", "a", "b"]);
  assert.deepEqual(orderAfter([1, 1, 1], 0, 2), [2, 3, 1]);
  assert.deepEqual(orderAfter([1, 3, 1], 1, 0), [2, 3, 4, 1]);
  assert.deepEqual(orderAfter([1, 1, null], 1, 0), [2, 1], "what lies behind does not matter");
  for (const [from, to] of [[0, 2], [2, 0], [1, 2], [2, 3]]) assert.equal(orderAfter([1, 1, null, 1], from, to), null);
});

test("temporal indices as the server reads them", () => {
  assert.deepEqual(indicesOf("", 3, true), [-10, -20, -30]);
  assert.deepEqual(indicesOf(" -5;-7 ", 2, true), [-5, -7]);
  assert.deepEqual(indicesOf("-5, -7, -9", 2, false), [-5, -7]);
  for (const wrong of ["-5", "-5, -7, -9", "-5, -5", "-5, 0", "-5, x", "-5,", "-5, -7.5"]) assert.equal(indicesOf(wrong, 2, true), null, wrong);
});

test("temporal indices move with their pictures", () => {
  assert.equal(reindexed("-5,-7;-9", [3, 1, 2]), "-9, -5, -7");
  assert.equal(reindexed("-5, -7, -9", [2, 1]), "-7, -5, -9");
  assert.equal(reindexed("", [2, 1]), "");
  assert.equal(reindexed("-5", [2, 1]), "-5");
});

test("how a picture fills the result", () => {
  const result = { width: 800, height: 400 };
  assert.deepEqual(fitting({ width: 1600, height: 1600 }, result, "cover"), { scale: 0.5, sides: 0, ends: 0.5 });
  assert.deepEqual(fitting({ width: 200, height: 50 }, result, "cover"), { scale: 8, sides: 0.5, ends: 0 });
  assert.deepEqual(fitting({ width: 200, height: 50 }, result, "contain"), { scale: 4, sides: 0, ends: 0 });
  assert.equal(fitting({ width: 200, height: 50 }, null, "cover"), null);
  assert.equal(fitting({ width: 64, height: 96 }, null, "native size").scale, 1);
});

test("native sizes as the server has them", () => {
  assert.deepEqual(nativeSize({ width: 77, height: 301 }), { width: 64, height: 288 });
  assert.deepEqual(nativeSize({ width: 2000, height: 1500 }), { width: 1120, height: 832 });
  assert.deepEqual(nativeSize({ width: 1, height: 1 }), { width: 32, height: 32 });
});

test("more room for a card of more than two notices only", () => {
  const card = (/** @type {string[]} */ ...texts) => ({ notices: texts.map((text) => ({ text })) });
  const [plain, short, long] = [roomOf([card()]), "x".repeat(30), "x".repeat(80)];
  assert.equal(roomOf([card(short, long)]), plain);
  assert.ok(roomOf([card(short, short, short)]) > plain);
  assert.ok(roomOf([card(short, short, long)]) > roomOf([card(short, short, short)]));
  assert.equal(roomOf([card(short, short, "剪".repeat(40))]), roomOf([card(short, short, long)]));
  assert.equal(roomOf([card(), card(short, short, short)]), roomOf([card(), card()]), "where the list scrolls");
});
