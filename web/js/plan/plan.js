// What a run will take, phase by phase, as the node told it when it ran.
// @ts-check
import { make } from "../shared/element.js";
import { addPanel } from "../shared/panel.js";
import { say } from "../shared/text.js";
import { partsOf } from "./parts.js";
import "./words.js";

const [WIDTH, HEIGHT] = [380, 480]; // with or without a plan, so that a run does not move what lies below

/** @type {Map<string, string[]>} The last lines by node; nodes are made anew by undo, this stays. */
const told = new Map();

/** @param {any} node */
export function attach(node) {
  const element = make("div.loom-plan", { tabindex: "0", role: "region", "aria-label": say("Memory plan") });
  addPanel(node, "loom_plan", element, { height: () => HEIGHT });
  if (node.size[0] < WIDTH) node.setSize([WIDTH, node.size[1]]); // a workflow that is loaded sets its own after this
  const show = () => element.replaceChildren(...rows(told.get(idOf(node)) ?? []));
  const [added, executed] = [node.onAdded, node.onExecuted];
  node.onAdded = function (/** @type {any[]} */ ...words) {
    added?.apply(this, words);
    show();
  };
  node.onExecuted = function (/** @type {any} */ output, /** @type {any[]} */ ...words) {
    executed?.call(this, output, ...words);
    if (!Array.isArray(output?.loom_plan)) return;
    told.set(idOf(node), output.loom_plan);
    show();
  };
  show();
}

/** @param {string[]} lines */
function rows(lines) {
  if (!lines.length) return [make("p.loom-plan-quiet", {}, say("After a run, what each phase takes stands here."))];
  const parts = partsOf(lines);
  const first = parts.findIndex(({ title }) => title);
  return parts.map(({ title, share, lines: texts }, at) =>
    make(
      at < first ? "section.loom-plan-whole" : "section",
      {},
      title && make("h4", {}, title),
      share !== null && bar(share),
      ...texts.map((text) => make(title || at < first ? "p" : "p.loom-plan-quiet", {}, text)),
    ),
  );
}

/** @param {number} share Of what there is; above 1 it does not fit. */
function bar(share) {
  const filled = make(`span${share > 1 ? ".loom-plan-over" : ""}`);
  filled.style.width = `${Math.min(1, share) * 100}%`;
  return make("div.loom-plan-bar", { "aria-hidden": "true" }, filled);
}

/** @param {any} node */
function idOf(node) {
  return `${node.graph?.id} ${node.id}`;
}
