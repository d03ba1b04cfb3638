// Panels of nodes that come into a graph, leave it, and never come into one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { onceAFrame, sweep, whileAdded } from "../../web/js/shared/lifetime.js";

/** As much of a graph as is asked for. */
function graphOf(id, root = null) {
  const nodes = new Map();
  const graph = { id, subgraphs: new Map(), getNodeById: (number) => nodes.get(number) ?? null };
  graph.rootGraph = root ?? graph;
  if (root) root.subgraphs.set(id, graph);
  graph.add = (node) => {
    nodes.set(node.id, node);
    node.graph = graph;
    node.onAdded?.();
  };
  graph.remove = (node) => {
    node.onRemoved?.();
    nodes.delete(node.id);
    node.graph = null;
  };
  graph.clear = () => nodes.forEach((node) => node.onRemoved?.()); // as ComfyUI does: the node keeps its graph
  return graph;
}

function followed(id, told = []) {
  const node = { id, graph: null, told, onAdded: () => told.push("own"), onRemoved: () => told.push("own end") };
  whileAdded(node, () => {
    told.push("begun");
    return () => told.push("ended");
  });
  return node;
}

test("a node that never comes into a graph has nothing", () => {
  assert.deepEqual(followed(1).told, []);
});

test("it begins with the node and ends with it, each time, and the node's own hooks are called", () => {
  const [graph, node] = [graphOf("a"), followed(1)];
  graph.add(node);
  assert.deepEqual(node.told, ["own", "begun"]);
  graph.remove(node);
  graph.remove(node);
  assert.deepEqual(node.told.slice(2), ["own end", "ended", "own end"]);
  graph.add(node);
  assert.deepEqual(node.told.slice(5), ["own", "begun"]);
  graph.clear();
  assert.deepEqual(node.told.slice(7), ["own end", "ended"]);
});

test("a node that is in a graph already begins at once", () => {
  const [graph, node, told] = [graphOf("a"), { id: 1, graph: null }, []];
  graph.add(node);
  whileAdded(node, () => {
    told.push("begun");
    return () => told.push("ended");
  });
  assert.deepEqual(told, ["begun"]);
  graph.remove(node);
  assert.deepEqual(told, ["begun", "ended"]);
});

test("a subgraph that was dropped without a word lets its nodes go when another node comes", async () => {
  const root = graphOf("root");
  const [kept, inner, outer] = [followed(1), followed(2), followed(3)];
  root.add(kept);
  const subgraph = graphOf("sub", root);
  subgraph.add(inner);
  sweep();
  assert.deepEqual(inner.told, ["own", "begun"]);
  root.subgraphs.clear();
  root.add(outer);
  await Promise.resolve();
  assert.deepEqual(inner.told, ["own", "begun", "ended"]);
  for (const node of [kept, outer]) assert.deepEqual(node.told, ["own", "begun"]);
});

test("once a frame, however often it is asked for", () => {
  const frames = [];
  globalThis.requestAnimationFrame = (act) => frames.push(act);
  let count = 0;
  const ask = onceAFrame(() => (count += 1));
  for (let time = 0; time < 3; time++) ask();
  assert.deepEqual([frames.length, count], [1, 0]);
  frames.pop()();
  ask();
  assert.deepEqual([frames.length, count], [1, 1]);
  delete globalThis.requestAnimationFrame;
});
