// A page of a real ComfyUI in headless Chromium, for the tests beside this file, which `node --test` runs.
// LOOM_SERVER is the server's address. playwright-core and axe-core are taken from PW_DIR, the browser from CHROMIUM.
import { execSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";

const require = createRequire((process.env.PW_DIR || process.cwd()) + "/");
const { chromium } = require("playwright-core");

export const SERVER = process.env.LOOM_SERVER;
/** Both ways in which ComfyUI draws nodes. */
export const RENDERERS = ["classic", "vue"];
const MODIFIER = "Control";
let browser;

after(() => browser?.close());

/**
 * Opens a bundled workflow in a page of its own.
 *
 * @param {object} [options]
 * @param {string | null} [options.template] Name of the workflow; null for an empty graph.
 * @param {"classic" | "vue"} [options.renderer]
 * @param {"dark" | "light"} [options.theme]
 * @param {number} [options.zoom] Of the browser: 1.25 for 125 %.
 * @param {string} [options.language]
 * @param {Record<string, any>} [options.settings] More of ComfyUI's settings.
 * @param {(page: any) => Promise<void>} [options.before] Called before the page is loaded, to break something.
 */
export async function open({ template = null, renderer = "classic", theme = "dark", zoom = 1, language = "en", settings = {}, before } = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM || execSync("command -v chromium").toString().trim(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  const [width, height] = [1600, 1000];
  const context = await browser.newContext({
    viewport: { width: Math.round(width / zoom), height: Math.round(height / zoom) },
    deviceScaleFactor: zoom,
  });
  const page = await context.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && message.text().includes("LoomVideo")) page.errors.push(message.text());
  });
  await page.route((url) => !["127.0.0.1", "localhost"].includes(url.hostname), (route) => route.abort());
  await before?.(page);
  // settings belong to the server's user; they are there before the page asks
  await fetch(`${SERVER}/settings`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      "Comfy.TutorialCompleted": true,
      "Comfy.Minimap.Visible": false,
      "Comfy.VueNodes.Enabled": renderer === "vue",
      "Comfy.VueNodes.AutoScaleLayout": false,
      "Comfy.ColorPalette": theme,
      "Comfy.Locale": language,
      "Comfy.Workflow.Persist": true,
      "LoomVideo.Panels": true,
      "LoomVideo.Preflight": false, // it would ask where a test wants an error
      ...settings,
    }),
  });
  const query = template ? `?template=${template}&source=comfyui-loomvideo` : "";
  await page.goto(`${SERVER}/${query}`, { waitUntil: "domcontentloaded" });
  // ComfyUI shows its own default graph before the template
  if (template) await page.waitForFunction(() => window.app?.graph?.nodes.some((node) => node.comfyClass?.startsWith("LoomVideo")), null, { timeout: 120_000 });
  await ready(page, template ? 5 : 0);
  return page;
}

/** Waits until the graph stands. @param {any} page @param {number} [least] Number of nodes that it has at least. */
export async function ready(page, least = 1) {
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager, null, { timeout: 120_000 });
  await page.waitForFunction((count) => window.app.graph.nodes.length >= count, least, { timeout: 60_000 });
  await page.waitForTimeout(500);
}

/** Centres a node at a zoom of 1, so that its panel can be clicked. @param {any} page @param {string} kind Class of the node. */
export async function show(page, kind, scale = 1) {
  await page.evaluate(
    ([wanted, zoom]) => {
      const node = window.app.graph.nodes.find((each) => each.comfyClass === wanted);
      const { canvas } = window.app;
      const box = canvas.canvas.getBoundingClientRect();
      canvas.ds.scale = zoom;
      canvas.ds.offset[0] = box.width / zoom / 2 - node.pos[0] - node.size[0] / 2;
      canvas.ds.offset[1] = Math.max(box.height / zoom / 2 - node.pos[1] - node.size[1] / 2, 90 / zoom - node.pos[1]);
      canvas.setDirty(true, true);
    },
    [kind, scale],
  );
  await page.waitForTimeout(400);
}

/** The panel of a name, as a locator. @param {any} page @param {string} name */
export function panel(page, name) {
  return page.locator(`[data-loom-panel="${name}"]`);
}

/** The value of a widget. @param {any} page @param {string} kind Class of the node. @param {string} name */
export function value(page, kind, name) {
  return page.evaluate(
    ([wanted, widget]) =>
      window.app.graph.nodes.find((node) => node.comfyClass === wanted).widgets.find((each) => each.name === widget).value,
    [kind, name],
  );
}

/** Presses keys that belong to the graph, such as those of undo. @param {any} page @param {string} key */
export async function press(page, key) {
  await page.evaluate(() => document.activeElement?.blur?.());
  await page.keyboard.press(`${MODIFIER}+${key}`);
  await page.waitForTimeout(500);
}

/** Drops a file on the canvas as a hand would. @param {any} page @param {string} name @param {string} type @param {Uint8Array} bytes */
export async function drop(page, name, type, bytes) {
  await page.evaluate(
    ([given, kind, text]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], given, { type: kind }));
      const canvas = window.app.canvas.canvas;
      const place = { bubbles: true, cancelable: true, dataTransfer: data, clientX: 700, clientY: 500 };
      for (const event of ["dragenter", "dragover", "drop"]) canvas.dispatchEvent(new DragEvent(event, place));
    },
    [name, type, Buffer.from(bytes).toString("base64")],
  );
}

/** Queues the graph and waits for its end. @param {any} page @returns {Promise<string>} success, error or timeout. */
export function run(page) {
  return page.evaluate(async () => {
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
}

/** Waits until the run panel tells this. @param {any} page @param {string} wanted running, done, failed ... */
export function status(page, wanted) {
  return page.waitForFunction((name) => document.querySelector("[data-loom-panel=loom_run]")?.dataset.status === name, wanted, { timeout: 90_000 });
}

/** Waits until the last run's result can be compared. @param {any} page */
export function comparable(page) {
  return page.waitForFunction(() => document.querySelector("[data-loom-panel=wipe_button] button:enabled"), null, { timeout: 90_000 });
}

/** What axe finds in our own elements: id, help and the elements of each violation. @param {any} page @param {string} [within] */
export async function violations(page, within = "[data-loom-panel], .loom-dialog") {
  if (!(await page.evaluate(() => "axe" in window)))
    await page.evaluate(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
  const found = await page.evaluate((selector) => window.axe.run({ include: [[selector]] }, { resultTypes: ["violations"] }), within);
  return found.violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html.slice(0, 160)) }));
}

/** A picture into LOOM_PICTURES, where that is set. @param {any} page @param {string} name @param {any} [locator] */
export async function picture(page, name, locator = page) {
  if (!process.env.LOOM_PICTURES) return;
  mkdirSync(process.env.LOOM_PICTURES, { recursive: true });
  await locator.screenshot({ path: `${process.env.LOOM_PICTURES}/${name}.png` });
}
