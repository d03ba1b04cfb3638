// A quiet outline around nodes that have findings, until the graph changes. The classic canvas asks a node's own styles of
// strokes; Vue nodes are elements that tell their id, so one stylesheet is enough and none of them is touched.
// @ts-check
import { placeOf } from "../shared/graph.js";
import { app } from "../../../../scripts/app.js";
import { api } from "../../../../scripts/api.js";

const STROKE = "loom-preflight";
const WARNING = "#d99a1c";
/** @type {Map<any, string>} Node -> level. */
const marked = new Map();
let isListening = false;

/** Mark the nodes of findings, and no others. @param {import("./answers.js").Finding[]} findings Errors and warnings. */
export function mark(findings) {
  listen();
  clear();
  for (const { node: id, level } of findings) {
    const node = id === null ? null : placeOf(id)?.node;
    if (node && marked.get(node) !== "error") marked.set(node, level);
  }
  for (const [node, level] of marked) {
    const stroke = strokeOf(level);
    if (node.strokeStyles) node.strokeStyles[STROKE] = () => stroke;
  }
  paint();
}

/** Take all marks away. */
export function clear() {
  if (!marked.size) return;
  for (const node of marked.keys()) delete node.strokeStyles?.[STROKE];
  marked.clear();
  paint();
}

/** @param {string} level */
function strokeOf(level) {
  const bad = getComputedStyle(document.documentElement).getPropertyValue("--error-text").trim() || "#f44";
  return { color: level === "error" ? bad : WARNING, lineWidth: 2, padding: 4 };
}

/** Both renderers show what is marked in the graph that is open: ids are only unique within one. */
function paint() {
  const here = [...marked].filter(([node]) => node.graph === app.canvas?.graph);
  const rules = here.map(([node, level]) => {
    const color = level === "error" ? "var(--error-text, #f44)" : WARNING;
    return `.lg-node[data-node-id=${JSON.stringify(String(node.id))}] { outline: 2px solid ${color}; outline-offset: 4px; border-radius: 8px; }`;
  });
  sheet().textContent = rules.join("\n");
  app.canvas?.setDirty(true, true);
}

/** @returns {HTMLElement} */
function sheet() {
  const found = document.getElementById(STROKE);
  if (found) return found;
  const made = document.createElement("style");
  made.id = STROKE;
  document.head.append(made);
  return made;
}

function listen() {
  if (isListening) return;
  isListening = true;
  api.addEventListener(/** @type {any} */ ("graphChanged"), clear);
  app.canvas?.canvas.addEventListener("litegraph:set-graph", () => queueMicrotask(paint));
}
