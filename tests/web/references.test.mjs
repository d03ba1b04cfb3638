// The numbers of references: the prompt editor offers and marks what the strip shows, and both count as nodes/references.py does.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Graph } from "./host.mjs";
import { countOf, listed, numbersOf } from "../../web/js/references/numbers.js";

const { surveyOf } = await import("../../web/js/prompt/references.js");
const { followRuns } = await import("../../web/js/references/runs.js");
const { stateOf } = await import("../../web/js/strip/state.js");

/** What the strip and the prompt editor say of a graph, once all files are read. */
async function told({ slots, encode }) {
  const whenKnown = () => {};
  for (let turn = 0; turn < 20; turn++) {
    stateOf(slots, whenKnown);
    await null;
  }
  const { cards, counts } = stateOf(slots, whenKnown);
  const { references, isCounted } = surveyOf(encode, whenKnown);
  assert.equal(isCounted, !counts.includes(null));
  return { labels: cards.map((card) => card.label), numbers: references.map((each) => each.number), names: references.map((each) => each.name), references, isCounted };
}

/** Has the node report a run, as ComfyUI does. */
function run(slots, counts) {
  followRuns(slots, () => {});
  const boxes = Array.from({ length: counts.reduce((sum, count) => sum + count) }, (_, at) => [100 * at, 0, 90, 60]);
  slots.onExecuted({ loom_counts: counts, loom_size: [832, 480], loom_boxes: boxes, images: [{ filename: "run.png", type: "temp" }] });
}

/** What the strip says of pictures and counts that are not known: whether a run tells them, or they depend on what is outside. */
const saidOf = (slots) =>
  stateOf(slots, () => {}).cards.map(({ notices }) =>
    notices
      .map(({ text }) => (/outside|inside/.test(text) ? "outside " : /run/.test(text) ? "run " : "") + (/picture /.test(text) ? "picture" : "count"))
      .filter((text) => text.includes(" ")),
  );

test("counts of a slot", () => {
  const unknown = { isOff: false, isMany: false, pictures: null, ran: null };
  assert.equal(countOf(unknown), null);
  assert.equal(countOf({ ...unknown, isMany: true }), 1);
  assert.equal(countOf({ ...unknown, pictures: 3 }), 3);
  assert.equal(countOf({ ...unknown, pictures: 3, ran: 2 }), 2, "a run knows better");
  assert.equal(countOf({ ...unknown, isMany: null, pictures: 1 }), 1);
  assert.equal(countOf({ ...unknown, isMany: null, pictures: 3 }), null);
  assert.equal(countOf({ ...unknown, isMany: null, pictures: 3, ran: 3 }), 3);
  assert.equal(countOf({ ...unknown, isOff: true, isMany: true }), 0);
});

test("numbers count the pictures before a slot", () => {
  assert.deepEqual(numbersOf([1, 3, 0, 1]), [{ first: 1, last: 1 }, { first: 2, last: 4 }, { first: 5, last: 4 }, { first: 5, last: 5 }]);
  assert.deepEqual(numbersOf([1, null, 1]), [{ first: 1, last: 1 }, { first: 2, last: null }, null]);
  assert.deepEqual(numbersOf([2, null, 1, 0]).map(listed), [[1, 2], [3], [], []]);
});

test("an animation gives a reference for each picture", async () => {
  const graph = new Graph();
  const made = graph.encodes(graph.load("a.png", 1), graph.load("moves.webp", 3), graph.load("b.png", 1));
  const { labels, numbers, names, isCounted } = await told(made);
  assert.deepEqual(labels, ["@Image 1", "@Image 2–4", "@Image 5"]);
  assert.deepEqual(numbers, [1, 2, 3, 4, 5]);
  assert.deepEqual(names, ["a.png", "moves.webp · 1/3", "moves.webp · 2/3", "moves.webp · 3/3", "b.png"]);
  assert.equal(isCounted, true);
  made.slots.widgets[0].value = "one reference of many frames";
  assert.deepEqual((await told(made)).numbers, [1, 2, 3]);
});

test("a batch is counted by a run, for as long as nothing changes that it depends on", async () => {
  const graph = new Graph();
  const batch = graph.add("ImageBatch", {}, ["image1"]).connect("image1", graph.load("c.png", 1));
  const made = graph.encodes(graph.load("d.png", 1), batch, graph.load("e.png", 1));
  const before = await told(made);
  assert.deepEqual([before.labels, before.numbers, before.isCounted], [["@Image 1", "@Image 2–?", "@Image ?"], [1, 2], false]);
  assert.deepEqual(saidOf(made.slots), [[], ["run picture", "run count"], []]);
  made.slots.connect("images.image_1", null);
  assert.deepEqual(saidOf(made.slots)[1], ["run picture", "outside count"], "one before it is never counted");
  made.slots.connect("images.image_1", graph.getNodeById(batch.id + 1));
  run(made.slots, [1, 2, 1]);
  const after = await told(made);
  assert.deepEqual([after.labels, after.numbers, after.isCounted], [["@Image 1", "@Image 2–3", "@Image 4"], [1, 2, 3, 4], true]);
  assert.deepEqual(after.references.map((each) => each.box), [null, [100, 0, 90, 60], [200, 0, 90, 60], null], "each has its own picture");
  made.slots.widgets[0].value = "one reference of many frames";
  assert.deepEqual((await told(made)).numbers, [1, 2, 3]);
  run(made.slots, [1, 1, 1]);
  made.slots.widgets[0].value = "one reference a frame";
  assert.deepEqual((await told(made)).numbers, [1, 2], "a run of another kind says nothing");
});

test("how slots are taken is read from a primitive, and otherwise told by a run", async () => {
  const graph = new Graph();
  const made = graph.encodes(graph.load("n.png", 1), graph.load("walks.webp", 3), graph.load("o.png", 1));
  const text = graph.add("PrimitiveString", { value: "one reference of many frames" }, ["value"]);
  made.slots.connect("batch", text);
  assert.deepEqual((await told(made)).labels, ["@Image 1", "@Image 2", "@Image 3"]);
  text.widgets[0].value = "one reference a frame";
  assert.deepEqual((await told(made)).labels, ["@Image 1", "@Image 2–4", "@Image 5"]);
  text.connect("value", graph.add("StringConcatenate", { string_a: "one reference " }));
  const before = await told(made);
  assert.deepEqual([before.labels, before.numbers, before.isCounted], [["@Image 1", "@Image 2–?", "@Image ?"], [1, 2], false]);
  run(made.slots, [1, 1, 1]);
  const after = await told(made);
  assert.deepEqual([after.labels, after.isCounted], [["@Image 1", "@Image 2", "@Image 3"], true]);
});

test("a slot whose node is muted, or bypassed with nothing to pass on, gives no reference", async () => {
  for (const mode of [2, 4]) {
    const graph = new Graph();
    const [first, second] = [graph.load("f.png", 1), graph.load("g.png", 1)];
    const made = graph.encodes(first, second);
    second.mode = mode;
    const { labels, numbers, isCounted } = await told(made);
    assert.deepEqual([labels, numbers, isCounted], [["@Image 1", "Off"], [1], true]);
    assert.deepEqual(stateOf(made.slots, () => {}).notices, []);
    [first.mode, second.mode] = [mode, 0];
    assert.match(stateOf(made.slots, () => {}).notices[0].text, /image_1 is empty/);
    made.slots.mode = mode;
    assert.deepEqual(surveyOf(made.encode, () => {}), { references: [], isCounted: true });
  }
});

test("what comes from outside of a subgraph, or of a file that is not there, is not counted", async () => {
  const graph = new Graph();
  const made = graph.encodes(graph.load("gone.png"), graph.load("h.png", 1));
  const { numbers, isCounted } = await told(made);
  assert.deepEqual([numbers, isCounted], [[1], false]);
  made.encode.connect("references", null);
  assert.deepEqual(surveyOf(made.encode, () => {}), { references: [], isCounted: false });
  assert.deepEqual(surveyOf(graph.add("LoomVideoDeepstackEncode", {}, ["references"]), () => {}), { references: [], isCounted: true });
});

test("a number in a title is not said beside the number", async () => {
  const graph = new Graph();
  const [titled, numbered] = [graph.load("i.png", 1), graph.load("j.png", 1)];
  titled.title = "@Image 1: the garment";
  numbered.title = "@Image 2";
  const made = graph.encodes(titled, numbered);
  assert.deepEqual((await told(made)).names, ["the garment", "j.png"]);
  assert.deepEqual(stateOf(made.slots, () => {}).cards.map((card) => card.name), ["the garment", "j.png"]);
});

test("a run says nothing of what comes from outside of a subgraph, which may change unseen", async () => {
  const graph = new Graph();
  const scaled = graph.add("ImageScale", { width: 64 }, ["image"]).connect("image", null);
  const made = graph.encodes(graph.load("k.png", 1), null, scaled, graph.add("ImageBatch"));
  made.slots.connect("images.image_2", null);
  run(made.slots, [1, 2, 3, 2]);
  const { labels, numbers, isCounted } = await told(made);
  const boxes = stateOf(made.slots, () => {}).cards.map((card) => card.box);
  assert.deepEqual(boxes, [null, null, null, [600, 0, 90, 60]], "nor is its picture of that run shown");
  assert.deepEqual([labels, numbers, isCounted], [["@Image 1", "@Image 2–?", "@Image ?", "@Image ?"], [1, 2], false]);
  assert.deepEqual(saidOf(made.slots), [[], ["outside picture", "outside count"], ["outside picture", "outside count"], []]);
  made.slots.connect("images.image_2", graph.load("l.png", 1)).connect("images.image_3", graph.load("m.png", 1));
  assert.deepEqual((await told(made)).labels, ["@Image 1", "@Image 2", "@Image 3", "@Image 4–5"], "what lies in it is known as before");
  made.slots.connect("batch", null);
  run(made.slots, [1, 1, 1, 2]);
  assert.equal((await told(made)).labels[3], "@Image 4–?", "nor of how slots are taken, if that is told from outside");
  assert.deepEqual(saidOf(made.slots), [[], [], [], ["outside count"]]);
});

test("what a run says of a subgraph holds until something changes in it, or in what it is given", async () => {
  const [graph, within] = [new Graph(), new Graph()];
  const scaled = within.add("ImageScale", { width: 64 }, ["image", "mask"]).connect("image", within.load("p.png", 1)).connect("mask", null);
  const box = graph.add("Subgraph", {}, ["mask"]).connect("mask", graph.load("q.png", 1));
  let from = scaled;
  within.outputNode = { slots: [{ getLinks: () => [{ origin_id: from.id, origin_slot: 0 }] }] };
  box.subgraph = within;
  const made = graph.encodes(box);
  run(made.slots, [2]);
  const labels = async () => (await told(made)).labels;
  assert.deepEqual(await labels(), ["@Image 1–2"]);
  for (const { widgets: [widget] } of [scaled, within.getNodeById(2), graph.getNodeById(2)]) {
    const { value } = widget;
    widget.value = "other";
    assert.deepEqual(await labels(), ["@Image 1–?"], `${value} is another`);
    widget.value = value;
    assert.deepEqual(await labels(), ["@Image 1–2"]);
  }
  from = within.getNodeById(2);
  assert.deepEqual(await labels(), ["@Image 1–?"], "the output comes from another node");
  from = scaled;
  box.connect("mask", null);
  assert.deepEqual(saidOf(made.slots), [["outside picture", "outside count"]]);
});

test("a file that is gone is told so, and counted as the picture that will take its place", async () => {
  const graph = new Graph();
  const made = graph.encodes(graph.load("deleted.png", 0), graph.load("there.png", 1), graph.load("unread.png"));
  assert.deepEqual((await told(made)).labels, ["@Image 1", "@Image 2", "@Image 3–?"]);
  const [gone, , unread] = stateOf(made.slots, () => {}).cards.map(({ notices }) => notices.map(({ text }) => text));
  assert.deepEqual(gone, ["This file is not in ComfyUI's input folder: upload it again or choose another."]);
  assert.deepEqual([unread[0], unread.length], ["This file cannot be shown.", 2]);
});
