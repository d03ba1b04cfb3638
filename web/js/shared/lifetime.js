// How long what a panel listens to is kept: while its node is in the graph. ComfyUI also makes nodes that never come into one (a copy
// for the clipboard, a conversion into a subgraph), and drops a subgraph without telling the nodes in it. Pure.
// @ts-check

/** What has begun, by what is to be called at its end. @type {Map<() => void, any>} */
const present = new Map();
let isSweepDue = false;

/**
 * Have something only while a node is in the graph.
 *
 * @param {any} node One that is, or may once be, in a graph.
 * @param {() => () => void} begin Called each time the node comes into one; what it gives back is called once the node is gone.
 */
export function whileAdded(node, begin) {
  /** @type {(() => void) | null} */
  let finish = null;
  const end = () => {
    present.delete(end);
    finish?.();
    finish = null;
  };
  const start = () => {
    if (finish) return;
    finish = begin();
    present.set(end, node);
    if (isSweepDue) return;
    isSweepDue = true;
    queueMicrotask(sweep); // by then the graph stands that the node came with
  };
  after(node, "onAdded", start);
  after(node, "onRemoved", end);
  if (node.graph) start();
}

/** Let go of the nodes that left the graph without a word. */
export function sweep() {
  isSweepDue = false;
  for (const [end, node] of [...present]) if (!isIn(node)) end();
}

/** @param {any} node Whether it is in a graph that is still used; a graph that was emptied leaves itself in its nodes. */
export function isIn(node) {
  const { graph } = node;
  if (!graph || graph.getNodeById(node.id) !== node) return false;
  const root = graph.rootGraph ?? graph;
  return root === graph || root.subgraphs.get(graph.id) === graph;
}

/** Call a function beside what is called at a hook of a node already. @param {any} node @param {string} hook @param {() => void} act */
function after(node, hook, act) {
  const before = node[hook];
  node[hook] = function (/** @type {any[]} */ ...words) {
    const answer = before?.apply(this, words);
    act();
    return answer;
  };
}

/** A function that is called at most once a frame, however often it is asked for. @param {() => void} act */
export function onceAFrame(act) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      act();
    });
  };
}
