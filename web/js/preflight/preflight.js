// The pre-flight in the browser: before a run, and when asked for. The server knows what is wrong (docs/preflight.md); this shows
// it. A server that does not answer keeps nobody from queueing.
// @ts-check
import { app } from "../../../../scripts/app.js";
import { api } from "../../../../scripts/api.js";
import { say } from "../shared/text.js";
import { hasOurs, neededFor, ofLevel } from "./answers.js";
import { ask } from "./ask.js";
import { showFindings } from "./dialog.js";
import { mark } from "./marks.js";
import { graphHasOurs } from "./place.js";
import { guardQueue } from "./queue.js";
import { sentenceOf } from "./sentences.js";
import { tell } from "./toast.js";
import "./words.js";

const SETTING = "LoomVideo.Preflight";
const COMMAND = "LoomVideo.CheckGraph";
/** Milliseconds that somebody who asks may wait: a pickle of 10 GB is looked at for seconds. */
const LONG = 60_000;
/** What was told last, so that the same warnings are not told at each run. */
let told = "";

/** Called once the application is up. */
export function start() {
  const name = () => say("LoomVideo: check this graph");
  app.registerExtension({
    name: "LoomVideo.Preflight",
    settings: [
      {
        id: /** @type {any} */ (SETTING),
        category: ["LoomVideo", "Queue", "Preflight"],
        name: "Check before a run", // in other languages: locales/
        tooltip: "Errors ask first, warnings are told while the run goes on. Only graphs with nodes of this pack are checked.",
        type: "boolean",
        defaultValue: true,
      },
    ],
    commands: [{ id: COMMAND, label: name, menubarLabel: name, tooltip: name, icon: "pi pi-check-circle", function: checkGraph }],
    menuCommands: [{ path: ["Extensions", "LoomVideo"], commands: [COMMAND] }],
    // hidden where there is nothing of this pack
    actionBarButtons: [{ icon: "pi pi-check-circle", tooltip: name(), class: "loom-check-graph", onClick: checkGraph }],
    afterConfigureGraph: look,
    nodeCreated: () => void requestAnimationFrame(look),
  });
  api.addEventListener(/** @type {any} */ ("graphChanged"), look);
  look();
  guardQueue(mayRun);
}

/** Tell the stylesheet whether the graph has nodes of this pack. */
function look() {
  document.body.classList.toggle("loom-has-nodes", graphHasOurs());
}

/** @type {import("./queue.js").Gate} */
async function mayRun({ outputs, isAutomatic }) {
  if (app.extensionManager.setting.get(SETTING) === false || !graphHasOurs()) return true;
  const again = async () => {
    const prompt = neededFor((await app.graphToPrompt()).output, outputs);
    return hasOurs(prompt) ? ask(prompt) : null;
  };
  const answer = await again();
  const bad = ofLevel(answer, "error", "warning");
  mark(bad);
  // who has ComfyUI queue at each change is typing just now
  if (ofLevel(answer, "error").length && !isAutomatic) return showFindings(answer, { again, isRun: true });
  tellOnce(bad);
  return true;
}

/** @param {import("./answers.js").Finding[]} bad */
function tellOnce(bad) {
  const words = bad.map((finding) => sentenceOf(finding).text).join("\n");
  if (words && words !== told)
    tell(
      {
        severity: "warn",
        summary: say("LoomVideo: worth a look"),
        detail: bad.length === 1 ? words : say("{count} warnings about this graph.", { count: bad.length }),
      },
      checkGraph,
    );
  told = words;
}

/** Show everything that is to be said about the graph, also what is as it should be. */
async function checkGraph() {
  const again = async () => ask((await app.graphToPrompt()).output, { patience: LONG, hasReport: true });
  const answer = await again();
  if (answer) await showFindings(answer, { again });
  else tell({ severity: "error", summary: "LoomVideo", detail: say("This graph could not be checked.") });
}
