// The pack's part in the browser. Each feature adds a panel to one kind of node; the node's own widgets stay what is saved
// and queued, so that a graph opens and runs the same where these scripts are absent or a panel fails to load.
// @ts-check
import { app } from "../../../scripts/app.js";
import { follow } from "./shared/graph.js";
import { loadStyle } from "./shared/style.js";

/** Modules that export `attach(node)`, called once for each node of the class; more may share a class.
 * @type {[string, string][]} */
const PANELS = [
  ["LoomVideoSourceLatentScaler", "./timeline/timeline.js"],
  ["LoomVideoDeepstackEncode", "./prompt/editor.js"],
  ["LoomVideoReferenceSlots", "./strip/strip.js"],
  ["LoomVideoSampler", "./run/panel.js"],
  ["LoomVideoRestoreVideo", "./wipe/panel.js"],
  ["LoomVideoMemoryPlan", "./plan/plan.js"],
  ["LoomVideoSampler", "./wipe/button.js"],
];
/** Modules that export `start()`, called once when the application is up. @type {string[]} */
const SERVICES = ["./preflight/preflight.js"];

const SETTING = "LoomVideo.Panels";
/** @type {Map<string, ((node: any) => void)[]>} */
const attachments = new Map();

/** @param {string} what @param {unknown} error */
function report(what, error) {
  console.error(`LoomVideo: ${what} is not shown; the plain widgets do the same.`, error);
}

/** @param {string} path @returns {Promise<any>} The module, or null with the reason in the console. */
async function load(path) {
  try {
    return await import(path);
  } catch (error) {
    report(path, error);
    return null;
  }
}

app.registerExtension({
  name: "LoomVideo",
  settings: [
    {
      id: SETTING,
      category: ["LoomVideo", "Node", "Panels"], // the host has words for the middle one
      name: "Panels on the nodes (reload the page after a change)",
      type: "boolean",
      defaultValue: true,
    },
  ],
  async init() {
    loadStyle();
    await Promise.all(
      PANELS.map(async ([kind, path]) => {
        const module = await load(path);
        if (module) attachments.set(kind, [...(attachments.get(kind) ?? []), module.attach]);
      }),
    );
  },
  async setup() {
    for (const module of await Promise.all(SERVICES.map(load))) {
      try {
        module?.start();
      } catch (error) {
        report("a service", error);
      }
    }
  },
  nodeCreated(node) {
    if (app.extensionManager.setting.get(SETTING) === false) return;
    const mine = attachments.get(node.comfyClass ?? "") ?? [];
    if (mine.length) follow(node);
    for (const attach of mine) {
      try {
        attach(node);
      } catch (error) {
        report(`a panel of ${node.comfyClass}`, error);
      }
    }
  },
});
