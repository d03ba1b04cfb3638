import assert from "node:assert/strict";
import { test } from "node:test";
import { mentionsOf, named, problems, renumbered, written } from "../../web/js/prompt/mentions.js";

test("mentions are found as the server finds them", () => {
  const numbers = (text) => mentionsOf(text).map((mention) => mention.number);
  assert.deepEqual(numbers("Put @Image 1 on @image2, then @IMAGE  10."), [1, 2, 10]);
  assert.deepEqual(numbers("a@Image 1 你@Image 2 _@image 3 @Images 4 @Image"), []);
  assert.deepEqual(numbers("，@Image 2。"), [2]);
  const text = "Use @Image 3!";
  const [{ start, end }] = mentionsOf(text);
  assert.equal(text.slice(start, end), written(3));
});

test("what does not fit", () => {
  assert.deepEqual(problems("@Image 1 and @Image 4, @Image 0", 3), { without: [0, 4], unmentioned: [2, 3] });
  assert.deepEqual(problems("", 0), { without: [], unmentioned: [] });
});

test("many mentions are named in few words", () => {
  assert.equal(named([0, 1, 3, 4, 5, 9]), "@Image 0, @Image 1, @Image 3–5, @Image 9");
  assert.equal(named(Array.from({ length: 49 }, (_, at) => at + 1)), "@Image 1–49");
  assert.equal(named([]), "");
});

test("wide digits are numbers too", () => {
  assert.deepEqual(mentionsOf("@Image １２。").map((mention) => mention.number), [12]);
  assert.equal(renumbered("@Image １ @Image 2", [2, 1]), "@Image 2 @Image 1");
});

test("another order keeps what a mention means", () => {
  assert.equal(renumbered("@Image 1 beside @image2 and @Image 10", [2, 1]), "@Image 2 beside @image1 and @Image 10");
  assert.equal(renumbered("@Image 3, @Image 1.", [3, 1, 2]), "@Image 1, @Image 2.");
  const prompt = "@Image 2 @Image 1 @Image 3";
  assert.equal(renumbered(renumbered(prompt, [2, 3, 1]), [3, 1, 2]), prompt);
});
