// node browser.mjs SERVER RENDERER ROUNDS SECONDS: a graph of a hundred LoomVideo nodes in ComfyUI's frontend, whose canvas is dragged
// with the mouse, with the pack's panels and without, in turns. Prints what it measured as one line of JSON.
// playwright-core is taken from PW_DIR (default: the current folder), the browser from CHROMIUM (default: chromium).
import { execSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire((process.env.PW_DIR || process.cwd()) + "/");
const { chromium } = require("playwright-core");
const [server, renderer, rounds, seconds] = process.argv.slice(2);
const NODES = 100;
const TEMPLATE = new URL("../workflows/reference_edit.json", import.meta.url);
const [WIDTH, HEIGHT, SCALE, COLUMNS] = [1600, 1000, 0.5, 4];
const PANELS = "LoomVideo.Panels";

const isOurs = (node) => node.type.startsWith("LoomVideo");

/** A bundled workflow over and over, in a grid, until there are exactly NODES nodes of the pack. */
function graph() {
  const one = JSON.parse(readFileSync(TEMPLATE, "utf8"));
  one.nodes = one.nodes.filter((node) => node.type !== "MarkdownNote");
  const [left, top] = [0, 1].map((axis) => Math.min(...one.nodes.map((node) => node.pos[axis])));
  const [width, height] = [0, 1].map((axis) => Math.max(...one.nodes.map((node) => node.pos[axis] + node.size[axis])) - [left, top][axis] + 300);
  const whole = { ...one, nodes: [], links: [], groups: [] };
  const copies = Math.floor(NODES / one.nodes.filter(isOurs).length);
  for (let copy = 0; copy < copies; copy++) {
    const move = (id) => (id == null ? id : id + copy * 1000);
    for (const node of structuredClone(one.nodes)) {
      node.id = move(node.id);
      node.pos = [node.pos[0] - left + (copy % COLUMNS) * width, node.pos[1] - top + Math.floor(copy / COLUMNS) * height];
      for (const input of node.inputs ?? []) input.link = move(input.link);
      for (const output of node.outputs ?? []) output.links = output.links?.map(move);
      whole.nodes.push(node);
    }
    whole.links.push(...one.links.map(([id, from, out, to, into, kind]) => [move(id), move(from), out, move(to), into, kind]));
  }
  const loader = one.nodes.find((node) => isOurs(node) && !node.inputs?.some((input) => input.link != null));
  for (let more = whole.nodes.filter(isOurs).length; more < NODES; more++)
    whole.nodes.push({ ...structuredClone(loader), id: 900_000 + more, pos: [COLUMNS * width, more * 20], outputs: loader.outputs.map((output) => ({ ...output, links: null })) });
  whole.last_node_id = Math.max(...whole.nodes.map((node) => node.id));
  whole.last_link_id = Math.max(...whole.links.map(([id]) => id));
  return whole;
}

/** Puts the graph there, with panels or without; gives back how many there are. */
async function load(page, made, hasPanels) {
  const found = await page.evaluate(
    async ([data, isOn, setting, scale]) => {
      await window.app.extensionManager.setting.set(setting, isOn);
      await window.app.loadGraphData(data, true, true);
      const { ds } = window.app.canvas;
      ds.scale = scale;
      [ds.offset[0], ds.offset[1]] = [100, 100];
      window.app.canvas.setDirty(true, true);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      return { nodes: window.app.graph.nodes.filter((node) => node.comfyClass?.startsWith("LoomVideo")).length, panels: document.querySelectorAll("[data-loom-panel]").length };
    },
    [made, hasPanels, PANELS, SCALE],
  );
  if (found.nodes !== NODES) throw new Error(`found ${found.nodes} nodes of the pack; expected ${NODES}`);
  return found.panels;
}

/** A point of the page at which there is nothing but canvas. */
function bare(page) {
  return page.evaluate(() => {
    const { canvas, graph } = window.app.canvas;
    const { scale, offset } = window.app.canvas.ds;
    const box = canvas.getBoundingClientRect();
    for (let y = box.top + 250; y < box.bottom - 200; y += 10)
      for (let x = box.left + 300; x < box.right - 300; x += 10) {
        const at = [(x - box.left) / scale - offset[0], (y - box.top) / scale - offset[1]];
        const isFree = graph.nodes.every(({ pos, size }) => at[0] < pos[0] - 60 || at[1] < pos[1] - 80 || at[0] > pos[0] + size[0] + 60 || at[1] > pos[1] + size[1] + 60);
        if (isFree && !document.elementFromPoint(x, y)?.closest("button, [data-node-id]")) return [x, y];
      }
    throw new Error("no bare canvas");
  });
}

/** Drags for some seconds; frames a second, the longest frame in ms, and the main thread's ms of processor time a frame. */
async function drag(page, session) {
  const [x, y] = await bare(page);
  const offset = () => page.evaluate(() => [...window.app.canvas.ds.offset]);
  const busy = async () => (await session.send("Performance.getMetrics")).metrics.find((each) => each.name === "TaskDuration").value;
  const before = await offset();
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x - 40, y - 10);
  const from = await busy();
  await page.evaluate(() => {
    window.loomFrames = [];
    const tick = (now) => {
      window.loomFrames?.push(now);
      if (window.loomFrames) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  let moves = 0;
  let isAway = false;
  for (const end = Date.now() + 1000 * Number(seconds); Date.now() < end; moves++) {
    await page.mouse.move(x + 250 * Math.sin(moves / 20), y + 150 * Math.sin(moves / 33));
    if (moves === 15) isAway = String(await offset()) !== String(before);
  }
  const times = await page.evaluate(() => {
    const found = window.loomFrames;
    window.loomFrames = null;
    return found;
  });
  const spent = (await busy()) - from;
  await page.mouse.up();
  if (moves > 15 && !isAway) throw new Error("the canvas did not move");
  const frames = times.slice(1).map((time, index) => time - times[index]);
  return { frames: frames.length, fps: (1000 * frames.length) / (times.at(-1) - times[0]), longest: Math.max(...frames), busy: (1000 * spent) / frames.length };
}

const executablePath = process.env.CHROMIUM || execSync("command -v chromium").toString().trim();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
try {
  const settings = { "Comfy.TutorialCompleted": true, "Comfy.Minimap.Visible": false, "Comfy.VueNodes.Enabled": renderer === "vue", "Comfy.VueNodes.AutoScaleLayout": false };
  await fetch(`${server}/settings`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(settings) });
  const page = await browser.newPage({ viewport: { width: WIDTH, height: HEIGHT } });
  await page.route((url) => !["127.0.0.1", "localhost"].includes(url.hostname), (route) => route.abort());
  await page.goto(server, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(() => window.app?.graph && window.app.extensionManager, null, { timeout: 120_000 });
  await page.waitForTimeout(2000);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" }); // processor time: the machine may be busy
  const made = graph();
  const found = { browser: browser.version(), nodes: NODES, panels: 0, rounds: [] };
  await load(page, made, true);
  await drag(page, session); // once for nothing: what is compiled late is no part of either
  for (let round = 0; round < Number(rounds); round++) {
    const measured = {};
    for (const hasPanels of round % 2 ? [true, false] : [false, true]) {
      const panels = await load(page, made, hasPanels);
      if (!hasPanels && panels) throw new Error(`${panels} panels where they are turned off`);
      if (hasPanels) found.panels = panels;
      measured[hasPanels ? "with" : "without"] = await drag(page, session);
    }
    found.rounds.push(measured);
  }
  await page.evaluate((setting) => window.app.extensionManager.setting.set(setting, true), PANELS);
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}
