// node to_ui.mjs SERVER IN.json OUT.json: has ComfyUI's own frontend turn API prompts into graphs.
// IN is {name: prompt}, OUT is {name: {graph, prompt}} where `prompt` is what the frontend would queue for that graph.
// playwright-core is taken from PW_DIR (default: the current folder), the browser from CHROMIUM (default: chromium).
import { createRequire } from "module";
import { execSync } from "child_process";
import fs from "fs";

const require = createRequire((process.env.PW_DIR || process.cwd()) + "/");
const { chromium } = require("playwright-core");
const [server, input, output] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM || execSync("command -v chromium").toString().trim();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
try {
  const page = await browser.newPage({ viewport: { width: 1600, height: 950 } });
  const isLocal = (url) => ["127.0.0.1", "localhost"].includes(url.hostname);
  await page.route((url) => !isLocal(url), (route) => route.abort());
  await page.goto(server, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager, null, { timeout: 120000 });
  await page.waitForTimeout(2500); // extensions register after the graph is there
  const settings = { "Comfy.TutorialCompleted": true, "Comfy.VueNodes.Enabled": false }; // sizes are those of the canvas
  await page.evaluate(async (values) => {
    for (const [name, value] of Object.entries(values)) await window.app.extensionManager.setting.set(name, value);
  }, settings);
  const made = {};
  for (const [name, prompt] of Object.entries(JSON.parse(fs.readFileSync(input, "utf8")))) {
    made[name] = await page.evaluate(async ([name, prompt]) => {
      await window.app.loadApiJson(prompt, name);
      await new Promise((resolve) => setTimeout(resolve, 800)); // widgets of growing inputs appear a moment later
      const { workflow, output } = await window.app.graphToPrompt();
      return { graph: workflow, prompt: output };
    }, [name, prompt]);
  }
  fs.writeFileSync(output, JSON.stringify(made));
} finally {
  await browser.close();
}
