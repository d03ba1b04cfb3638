// node screenshots.mjs SERVER FOLDER [--run] [--vue] NAME ...: opens bundled workflows as an artist would, from the
// templates, and takes a picture of each. Prints what it found as JSON, one line a workflow: node types that are not
// there, dialogs, errors. With --run each is queued and followed to its end first; with --vue the newer renderer is on.
// playwright-core is taken from PW_DIR (default: the current folder), the browser from CHROMIUM (default: chromium).
import { createRequire } from "module";
import { execSync } from "child_process";

const require = createRequire((process.env.PW_DIR || process.cwd()) + "/");
const { chromium } = require("playwright-core");
const flags = process.argv.slice(2).filter((word) => word.startsWith("--"));
const [server, folder, ...names] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const executablePath = process.env.CHROMIUM || execSync("command -v chromium").toString().trim();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
const isLocal = (url) => ["127.0.0.1", "localhost"].includes(url.hostname);

async function show(name) {
  const page = await browser.newPage({ viewport: { width: 3200, height: 1800 } });
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.route((url) => !isLocal(url), (route) => route.abort());
  await page.goto(`${server}/?template=${name}&source=comfyui-loomvideo`, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager, null, { timeout: 120000 });
  await page.evaluate(async (isVue) => {
    await window.app.extensionManager.setting.set("Comfy.TutorialCompleted", true);
    await window.app.extensionManager.setting.set("Comfy.Minimap.Visible", false);
    await window.app.extensionManager.setting.set("Comfy.VueNodes.Enabled", isVue);
  }, flags.includes("--vue"));
  await page.waitForFunction(() => window.app.graph._nodes.length > 5, null, { timeout: 60000 });
  await page.waitForTimeout(1500);
  const found = await page.evaluate(async () => {
    const known = window.LiteGraph.registered_node_types;
    const missing = window.app.graph._nodes.map((node) => node.type).filter((type) => !known[type]);
    const dialogs = [...document.querySelectorAll(".p-dialog, [role=dialog]")].map((dialog) => dialog.innerText.slice(0, 300));
    return { nodes: window.app.graph._nodes.length, missing: [...new Set(missing)], dialogs };
  });
  if (flags.includes("--run")) {
    found.run = await page.evaluate(async () => {
      const history = async () => (await fetch("/history")).json();
      const before = new Set(Object.keys(await history()));
      await window.app.queuePrompt(0, 1);
      for (let waited = 0; waited < 600; waited++) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        const mine = Object.entries(await history()).find(([id, entry]) => !before.has(id) && entry.status?.status_str);
        if (mine) return mine[1].status.status_str;
      }
      return "timeout";
    });
    await page.waitForTimeout(2500);
  }
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.Canvas.FitView"));
  await page.waitForTimeout(1200);
  found.errors = errors;
  const clip = await page.evaluate(() => {
    const boxes = [...window.app.graph._groups, ...window.app.graph._nodes].map((item) => item.boundingRect ?? item._bounding);
    const { scale, offset } = window.app.canvas.ds;
    const canvas = window.app.canvas.canvas.getBoundingClientRect();
    const [left, top] = [Math.min(...boxes.map((box) => box[0])), Math.min(...boxes.map((box) => box[1]))];
    const [right, bottom] = [Math.max(...boxes.map((box) => box[0] + box[2])), Math.max(...boxes.map((box) => box[1] + box[3]))];
    const margin = 16;
    return {
      x: canvas.left + (left + offset[0]) * scale - margin,
      y: canvas.top + (top + offset[1]) * scale - margin,
      width: (right - left) * scale + 2 * margin,
      height: (bottom - top) * scale + 2 * margin,
    };
  });
  await page.screenshot({ path: `${folder}/${name}.jpg`, type: "jpeg", quality: 82, clip });
  await page.close();
  return found;
}

let failures = 0;
try {
  for (const name of names) {
    const found = await show(name);
    failures += found.missing.length + found.dialogs.length + (found.run && found.run !== "success" ? 1 : 0);
    console.log(JSON.stringify({ name, ...found }));
  }
} finally {
  await browser.close();
}
process.exit(failures ? 1 : 0);
