// What is connected to a node, and what its widgets say. Nodes and links are only reached through methods that both
// renderers and the frontends from 1.49 on have.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { api } from "../../../../scripts/api.js";
import { queryOf, storedFile } from "./files.js";
import { isIn, onceAFrame, sweep, whileAdded } from "./lifetime.js";

/** @typedef {import("./files.js").StoredFile} StoredFile */

/** @param {any} node @param {string} name @returns {any} The widget of that name, or undefined. */
export function widgetOf(node, name) {
  return node.widgets?.find((/** @type {any} */ widget) => widget.name === name);
}

/**
 * Set a widget as a person would: its callback runs, and it is a step of undo.
 *
 * @param {any} node
 * @param {string} name
 * @param {any} value
 * @param {{isStep?: boolean}} [options] Not a step while more is to follow, as in typing; then call `remember` at its end.
 * @returns {boolean} Whether something changed.
 */
export function setWidget(node, name, value, { isStep = true } = {}) {
  const widget = node && widgetOf(node, name);
  if (!widget || widget.value === value) return false;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.setDirtyCanvas?.(true, true);
  if (isStep) remember(node);
  return true;
}

/** The workflow that is on the canvas: the same object for as long as it is open, whatever it is called. @returns {any} */
export function openTab() {
  return /** @type {any} */ (app.extensionManager)?.workflow?.activeWorkflow ?? null;
}

/**
 * Make what was changed a step of undo.
 *
 * @param {any} node One that was changed. If it went with its graph, nothing is remembered: another workflow is being opened, the
 *     graph is empty, and the old workflow still the open one, which would be given that.
 */
export function remember(node) {
  if (!isIn(node)) return;
  const tracker = openTab()?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.();
}

/**
 * Make several changes one step of undo.
 *
 * @param {any} node One that is changed, as for `remember`.
 * @param {() => void} change
 */
export function together(node, change) {
  const tracker = isIn(node) ? openTab()?.changeTracker : null; // it remembers by itself at the end
  tracker?.beforeChange?.();
  try {
    change();
  } finally {
    tracker?.afterChange?.();
  }
  remember(node);
}

/** @param {any} node @param {string} name Of an input. @returns {boolean} */
export function isLinked(node, name) {
  const slot = node.findInputSlot?.(name) ?? -1;
  return slot >= 0 && node.isInputConnected(slot);
}

/**
 * Whether an input is fed by one of the subgraph that the node is in, which then has a copy of the input's widget.
 *
 * @param {any} node @param {string} name Of the input.
 */
export function isPromoted(node, name) {
  const slot = node.findInputSlot?.(name) ?? -1;
  const link = slot < 0 || !node.graph?.inputNode ? null : node.getInputLink(slot);
  return link ? link.origin_id === node.graph.inputNode.id : false;
}

/**
 * The node of an id in a prompt, "3:5" being node 5 in the subgraph of node 3.
 *
 * @param {string} id
 * @returns {{node: any, within: any} | null} `within` is the node whose subgraph it is in, null at the top.
 */
export function placeOf(id) {
  let [node, within] = /** @type {any[]} */ ([null, null]);
  let graph = /** @type {any} */ (app).rootGraph ?? app.graph;
  for (const part of id.split(":")) {
    within = node;
    node = graph?.getNodeById?.(part) ?? graph?.getNodeById?.(Number(part));
    if (!node) return null;
    graph = node.subgraph;
  }
  return { node, within };
}

const [MUTED, BYPASSED] = [2, 4]; // ComfyUI's modes of nodes

/**
 * The node that feeds an input, seen through reroutes and bypassed nodes.
 *
 * @param {any} node
 * @param {string} name Of the input.
 * @returns {any} The node, or null where nothing is connected, or only a muted node (or what is lies outside of a subgraph).
 */
export function origin(node, name) {
  return feedOf(node, node.findInputSlot?.(name) ?? -1).node;
}

/**
 * What feeds an input, as `origin` sees it.
 *
 * @param {any} node
 * @param {number} slot Of the input; below 0 for one that is not there.
 * @returns {{node: any, link: any}} The last link, and where it begins. No link: nothing comes in a run. A link without a node
 *     begins outside of a subgraph.
 */
export function feedOf(node, slot) {
  if (!node.graph || slot < 0) return { node: null, link: null }; // not yet in a graph
  let [at, link] = [node.getInputNode(slot), node.getInputLink(slot)];
  while (at && (isReroute(at) || at.mode === BYPASSED)) {
    const next = isReroute(at) ? 0 : passedOn(at, link);
    if (next < 0) return { node: null, link: null };
    [at, link] = [at.getInputNode(next), at.getInputLink(next)];
  }
  return at?.mode === MUTED ? { node: null, link: null } : { node: at ?? null, link: link ?? null };
}

/** The input that a bypassed node passes on where `link` begins: the first of that type, the one of that place preferred. */
function passedOn(/** @type {any} */ node, /** @type {any} */ link) {
  const type = node.outputs?.[link?.origin_slot]?.type;
  const inputs = node.inputs ?? [];
  if (inputs[link?.origin_slot]?.type === type) return link.origin_slot;
  return inputs.findIndex((/** @type {any} */ input) => input.type === type);
}

/**
 * What a widget says, or the primitive node that is connected in its place, as nodes/preflight/graph.py reads it.
 *
 * @param {any} node
 * @param {string} name
 * @returns {{value: any, isLinked: boolean}} `value` is undefined where only a run can tell.
 */
export function setting(node, name) {
  if (!isLinked(node, name)) return { value: widgetOf(node, name)?.value, isLinked: false };
  const from = origin(node, name);
  const isPlain = /^Primitive/.test(from?.comfyClass ?? from?.type ?? "") && !isLinked(from, "value");
  return { value: isPlain ? widgetOf(from, "value")?.value : undefined, isLinked: true };
}

/** @param {any} node */
export function isReroute(node) {
  return node.type === "Reroute" || node.type === "Reroute (rgthree)";
}

/**
 * Inputs of an autogrow, in the order of their slots.
 *
 * @param {any} node
 * @param {string} group Such as "images" for images.image_1, images.image_2 ...
 * @returns {{name: string, index: number, isConnected: boolean}[]} `index` is that of the input in the node.
 */
export function slotsOf(node, group) {
  return (node.inputs ?? [])
    .map((/** @type {any} */ input, /** @type {number} */ index) => ({
      name: input.name,
      index,
      isConnected: node.isInputConnected(index),
    }))
    .filter((/** @type {any} */ slot) => slot.name.startsWith(`${group}.`));
}

/**
 * The nodes that an output feeds, seen through reroutes.
 *
 * @param {any} node
 * @param {number} slot Of the output.
 * @returns {any[]}
 */
export function targets(node, slot) {
  return (node.getOutputNodes?.(slot) ?? []).flatMap((/** @type {any} */ at) => (isReroute(at) ? targets(at, 0) : [at]));
}

/**
 * The nodes that depend on a node, nearest first.
 *
 * @param {any} node
 * @param {{slots?: number[], passes?: (at: any) => boolean}} [options] Outputs to begin with, all of them if not given; and which
 *     nodes belong to it: others are left out, with what is behind them.
 * @returns {any[]}
 */
export function downstream(node, { slots, passes = () => true } = {}) {
  const behind = (/** @type {any} */ at, /** @type {Iterable<number>} */ from = (at.outputs ?? []).keys()) =>
    [...from].flatMap((slot) => targets(at, slot)).filter((each) => each !== node && passes(each));
  const found = new Set(behind(node, slots));
  for (const at of found) for (const each of behind(at)) found.add(each); // which goes on with what is added
  return [...found];
}

/** @param {StoredFile} file @param {{isPreview?: boolean}} [options] A preview is smaller to send. @returns {string} */
export function addressOf(file, { isPreview = false } = {}) {
  const query = queryOf(file);
  if (isPreview) query.set("preview", "webp;75");
  return api.apiURL(`/view?${query}`);
}

/**
 * The pictures or clips that a node loads or has last shown.
 *
 * @param {any} node
 * @returns {StoredFile[]} Empty where nothing is known before it runs.
 */
export function filesOf(node) {
  for (const name of ["image", "file", "video"]) {
    const file = node.comfyClass?.startsWith("Load") ? storedFile(widgetOf(node, name)?.value) : null;
    if (file) return [file];
  }
  // ComfyUI keeps them for each workflow; those of nodes in a subgraph by its id too
  const isRoot = !node.graph || node.graph === node.graph.rootGraph;
  const output = /** @type {any} */ (app).nodeOutputs?.[isRoot ? String(node.id) : `${node.graph.id}:${node.id}`];
  return output?.images ?? output?.video ?? output?.gifs ?? [];
}

/**
 * Hear of every change that may concern a node's surroundings: links, widgets of other nodes, a run's outputs.
 * The listener is called at most once a frame, and only while the node is in the graph.
 *
 * @param {any} node
 * @param {() => void} listener
 */
export function watch(node, listener) {
  const call = onceAFrame(() => listeners.has(call) && listener());
  whileAdded(node, () => {
    listeners.add(call);
    call();
    return () => listeners.delete(call);
  });
}

/** @type {Set<() => void>} */
const listeners = new Set();

function changed() {
  sweep();
  for (const call of listeners) call();
}

// ComfyUI tells of every change it can undo; links and outputs have events of their own
for (const kind of ["graphChanged", "executed", "execution_cached"]) api.addEventListener(/** @type {any} */ (kind), changed);

/** Hear of links and of the values of widgets of a node, as they change. @param {any} node */
export function follow(node) {
  for (const hook of ["onConnectionsChange", "onWidgetChanged", "onConfigure"]) {
    const before = node[hook];
    node[hook] = function (/** @type {any[]} */ ...words) {
      const answer = before?.apply(this, words);
      changed();
      return answer;
    };
  }
}
