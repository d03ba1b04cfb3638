// From the ids of a prompt to nodes of the graph: what the buttons of findings do there.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { placeOf, remember, setWidget, widgetOf } from "../shared/graph.js";
import { isOurs } from "./answers.js";

/** @param {any} [graph] @returns {boolean} Whether a node of this pack is in it, or in one of its subgraphs. */
export function graphHasOurs(graph = /** @type {any} */ (app).rootGraph) {
  return (graph?.nodes ?? []).some(
    (/** @type {any} */ node) => isOurs(node.comfyClass) || (node.subgraph && graphHasOurs(node.subgraph)),
  );
}

/** @param {import("./answers.js").SetAction} action @returns {boolean} Whether all of its widgets are there. */
export function canWrite(action) {
  return action.values.every(({ node, input }) => widgetOf(placeOf(node)?.node ?? {}, input));
}

/** Write the values of an action into their widgets, as one step of undo. @param {import("./answers.js").SetAction} action */
export function write(action) {
  const nodes = action.values.map(({ node }) => placeOf(node)?.node);
  action.values.forEach(({ input, value }, at) => setWidget(nodes[at], input, value, { isStep: false }));
  const changed = nodes.find(Boolean);
  if (changed) remember(changed);
}

/** Centre a node and select it, in its subgraph where it is in one. @param {string} id */
export function show(id) {
  const place = placeOf(id);
  const canvas = /** @type {any} */ (app.canvas);
  if (!place) return;
  const { node, within } = place;
  if (node.graph && node.graph !== canvas.graph) {
    if (within) canvas.openSubgraph(node.graph, within);
    else {
      if (canvas.subgraph) canvas.subgraph = undefined;
      canvas.setGraph(node.graph);
    }
  }
  requestAnimationFrame(() => {
    canvas.deselectAll();
    canvas.selectNode(node);
    canvas.animateToBounds(node.boundingRect);
  });
}
