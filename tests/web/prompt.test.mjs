import assert from "node:assert/strict";
import { test } from "node:test";
import { deleted, matching, mentioned, plain, typedMention, replaced } from "../../web/js/prompt/editing.js";
import { History } from "../../web/js/prompt/history.js";
import { withMentions, withoutMentions } from "../../web/js/prompt/mentions.js";
import { offsetAt, placeAt, textOf } from "../../web/js/prompt/places.js";
import { carried, difference, tokensOf } from "../../web/js/prompt/tokens.js";

const at = (text, start = text.length, end = start) => ({ text, start, end });
const words = (text) => ({ nodeType: 3, nodeName: "#text", data: text, childNodes: [] });
const element = (nodeName, dataset, ...childNodes) => ({ nodeType: 1, nodeName, dataset, childNodes });
const chip = (text) => element("SPAN", { text }, element("IMG", {}), element("SPAN", {}, words("shown otherwise")));
const end = () => element("BR", { end: "" });

test("tokens are the text, cut at its mentions", () => {
  const text = "Put @Image 1 on\n@image2@Image 3";
  const tokens = tokensOf(text);
  assert.equal(tokens.map((token) => token.text).join(""), text);
  assert.deepEqual(tokens.map((token) => token.number), [null, 1, null, 2, null]);
  assert.deepEqual(tokensOf("a@Image 1"), [{ text: "a@Image 1", number: null }]);
  assert.deepEqual(tokensOf(""), []);
});

test("a difference is as small as it can be", () => {
  assert.deepEqual(difference("abcd", "abXcd"), { start: 2, end: 2, endAfter: 3 });
  assert.deepEqual(difference("aaaa", "aaa"), { start: 3, end: 4, endAfter: 3 });
  assert.deepEqual(difference("", "ab"), { start: 0, end: 0, endAfter: 2 });
  assert.deepEqual(difference("same", "same"), { start: 4, end: 4, endAfter: 4 });
});

test("a caret is carried over a change of others", () => {
  assert.equal(carried("see @Image 1 there", "see @Image 12 there", 18), 19);
  assert.equal(carried("see @Image 1 there", "see @Image 12 there", 2), 2);
  assert.equal(carried("abcdef", "af", 3), 1);
});

test("elements stand for plain text", () => {
  const root = element("DIV", {}, words("Put "), chip("@image1"), words(" here\n"), end());
  assert.equal(textOf(root), "Put @image1 here\n");
  assert.equal(textOf(element("DIV", {}, words("a"), element("BR", {}), words("b"), end())), "a\nb");
});

test("a place in the elements is an offset in the text, and back", () => {
  const [first, mention, last] = [words("Put "), chip("@image1"), words(" 你好👍\n")];
  const root = element("DIV", {}, first, mention, last, end());
  const text = textOf(root);
  for (let offset = 0; offset <= text.length; offset++) {
    const place = placeAt(root, offset);
    const isInside = offset > 4 && offset < 11;
    assert.equal(offsetAt(root, place.node, place.offset), isInside ? 11 : offset, `offset ${offset}`);
  }
  assert.equal(offsetAt(root, root, 0), 0);
  assert.equal(offsetAt(root, root, 2), 11);
  assert.equal(offsetAt(root, root, 4), text.length);
  assert.equal(offsetAt(root, mention.childNodes[1].childNodes[0], 3), 11, "inside of a chip is its end");
  assert.equal(offsetAt(root, words("elsewhere"), 0), null);
});

test("places beside chips without text", () => {
  const root = element("DIV", {}, chip("@Image 1"), chip("@Image 2"), end());
  assert.deepEqual(placeAt(root, 0), { node: root, offset: 0 });
  assert.deepEqual(placeAt(root, 8), { node: root, offset: 1 });
  assert.deepEqual(placeAt(root, 16), { node: root, offset: 2 });
  assert.deepEqual(placeAt(element("DIV", {}, end()), 0).offset, 0);
});

test("an input replaces what is selected", () => {
  assert.deepEqual(replaced(at("abcd", 1, 3), "你好"), at("a你好d", 3));
  assert.equal(plain("a\r\nb\rc"), "a\nb\nc");
});

test("a deletion takes a whole character, or a whole mention", () => {
  assert.deepEqual(deleted(at("ab"), "Backward"), at("a"));
  assert.deepEqual(deleted(at("a👩‍👩‍👧"), "Backward"), at("a"));
  assert.deepEqual(deleted(at("a👍🏽b", 1), "Forward"), at("ab", 1));
  assert.deepEqual(deleted(at("Put @Image 12"), "Backward"), at("Put "));
  assert.deepEqual(deleted(at("@Image 1 on", 0), "Forward"), at(" on", 0));
  assert.deepEqual(deleted(at("Put @Image 1 on", 2, 6), "Backward"), at("Pu on", 2), "half a mention is selected");
  assert.deepEqual(deleted(at("two words"), "Backward", [4, 9]), at("two "));
  assert.deepEqual(deleted(at("", 0), "Backward"), at("", 0));
});

test("where a mention is being typed", () => {
  assert.deepEqual(typedMention(at("Put @")), { start: 4, filter: "" });
  assert.deepEqual(typedMention(at("Put @im")), { start: 4, filter: "im" });
  assert.deepEqual(typedMention(at("@Image ")), { start: 0, filter: "Image " });
  assert.deepEqual(typedMention(at("把@红")), { start: 1, filter: "红" }, "Chinese has no blank before it");
  for (const none of ["me@", "_@", "3@im", "Put @Image 1", "@ ", "@x y", ""]) assert.equal(typedMention(at(none)), null, none);
  assert.equal(typedMention(at("@im", 1, 3)), null);
});

test("a mention is put in so that it is read as one", () => {
  assert.deepEqual(mentioned(at("Put @im"), 4, 2), at("Put @Image 2 "));
  assert.deepEqual(mentioned(at("把@穿上", 2), 1, 1), at("把 @Image 1 穿上", 11));
  assert.deepEqual(mentioned(at("Put @, then", 5), 4, 1), at("Put @Image 1, then", 12));
  assert.deepEqual(mentioned(at("@ on", 1), 0, 1), at("@Image 1 on", 8));
});

test("what is typed narrows the list", () => {
  const references = [{ number: 1, name: "maroon.png" }, { number: 2, name: "Red 红" }, { number: 12, name: "" }];
  const numbers = (filter) => matching(references, filter).map((each) => each.number);
  assert.deepEqual(numbers(""), [1, 2, 12]);
  assert.deepEqual(numbers("Im"), [1, 2, 12]);
  assert.deepEqual(numbers("image 1"), [1, 12]);
  assert.deepEqual(numbers("2"), [2]);
  assert.deepEqual(numbers("MAR"), [1]);
  assert.deepEqual(numbers("红"), [2]);
  assert.deepEqual(numbers("home"), []);
});

/** Types a text, and gives back what each undo leaves. */
function undone(text) {
  const history = new History();
  let state = at("");
  for (const character of text) {
    const next = replaced(state, character);
    history.note(state, next, "type");
    state = next;
  }
  const seen = [];
  for (let back = history.undo(state); back; back = history.undo(back)) seen.push(back.text);
  return seen;
}

test("undo goes by words", () => {
  assert.deepEqual(undone("one two"), ["one ", ""]);
  assert.deepEqual(undone(" one  two"), [" one  ", ""]);
  assert.deepEqual(undone("a\nb"), ["a", ""]);
});

test("undo and redo come back to the same text and caret", () => {
  const history = new History();
  const [first, second, third] = [at("a"), at("ab"), at("xab", 1)];
  history.note(first, second, "type");
  history.note({ ...second, start: 0, end: 0 }, third, "type"); // the caret was moved: a step of its own
  assert.deepEqual(history.undo(third), { ...second, start: 0, end: 0 });
  assert.deepEqual(history.redo(second), third);
  assert.equal(history.redo(third), undefined);
  assert.deepEqual(history.undo(third), second);
  assert.deepEqual(history.undo(second), first);
  assert.equal(history.undo(first), undefined);
});

test("a mention without a reference is taken out with its blank", () => {
  assert.equal(withoutMentions("Put @Image 3 on @Image 1, @Image 3.", [3]), "Put on @Image 1,.");
  assert.equal(withoutMentions("@Image 3 walks", [3]), "walks");
  assert.equal(withoutMentions("one\n@Image 3", [3]), "one\n");
  assert.equal(withoutMentions("@Image 1", [3]), "@Image 1");
});

test("a reference is mentioned at the end", () => {
  assert.equal(withMentions("Put it on.", [2, 3]), "Put it on. @Image 2 @Image 3");
  assert.equal(withMentions("", [1]), "@Image 1");
  assert.equal(withMentions("one\n", [1]), "one\n@Image 1");
  assert.equal(withMentions("as it is", []), "as it is");
});
