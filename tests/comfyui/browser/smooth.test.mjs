// Moving the canvas is none of our business: no panel changes and nobody is told. Counted, not timed; benchmarks/browser.py measures frames.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open } from "./page.mjs";

const SCRIPTS = "/extensions/comfyui-loomvideo/js/shared";

/** Puts a panel of the test's own on each of our nodes, beside those that are there, and counts what happens in all of them. */
const count = (page) =>
  page.evaluate(async (scripts) => {
    const { addPanel } = await import(`${scripts}/panel.js`);
    const { watch } = await import(`${scripts}/graph.js`);
    const counted = { mutations: [], calls: 0, panels: 0 };
    window.loomCounted = counted;
    for (const node of window.app.graph.nodes.filter((each) => each.comfyClass?.startsWith("LoomVideo"))) {
      const element = document.createElement("div");
      element.innerHTML = "<button type='button'>One of the test's</button>";
      addPanel(node, "loom_probe", element, { height: () => 24 });
      watch(node, () => counted.calls++);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const observer = new MutationObserver((found) => counted.mutations.push(...found.map((each) => `${each.type} ${each.attributeName ?? ""} ${each.target.nodeName}`)));
    for (const panel of document.querySelectorAll("[data-loom-panel]")) {
      counted.panels++;
      for (const child of panel.children) observer.observe(child, { subtree: true, childList: true, attributes: true, characterData: true });
      observer.observe(panel, { childList: true });
    }
    counted.calls = 0;
    return counted.panels;
  }, SCRIPTS);

const counted = (page) => page.evaluate(() => window.loomCounted);
/** A place of the page with nothing but canvas around it. */
const bare = (page) =>
  page.evaluate(() => {
    const { canvas, graph } = window.app;
    const box = canvas.canvas.getBoundingClientRect();
    const taken = [...graph.nodes, ...graph.groups].map((item) => item.boundingRect ?? item._bounding);
    const isBare = (x, y) => {
      const [left, top] = [(x - box.left) / canvas.ds.scale - canvas.ds.offset[0], (y - box.top) / canvas.ds.scale - canvas.ds.offset[1]];
      return taken.every(([a, b, width, height]) => left < a - 20 || top < b - 50 || left > a + width + 20 || top > b + height + 20);
    };
    for (let y = 750; y > 150; y -= 20) for (let x = 1200; x > 400; x -= 20) if (isBare(x, y)) return [x, y];
    throw new Error("no bare canvas");
  });
const offset = (page) => page.evaluate(() => [...window.app.canvas.ds.offset]);

for (const renderer of RENDERERS)
  test(`dragging the canvas changes no panel and tells no listener, ${renderer}`, async () => {
    const page = await open({ template: "text_to_video", renderer });
    assert.ok((await count(page)) >= 7);
    const before = await offset(page);
    const [x, y] = await bare(page);
    // at a press ComfyUI looks for changes, and finds that the nodes have grown by the test's own panels, which they do when they are drawn
    for (let press = 0; press < 3; press++) {
      await page.mouse.click(x, y);
      await page.waitForTimeout(700);
    }
    await page.evaluate(() => (window.loomCounted.calls = window.loomCounted.mutations.length = 0));
    await page.mouse.move(x, y);
    await page.mouse.down();
    for (let step = 1; step <= 40; step++) await page.mouse.move(x - 6 * step, y - 2 * step);
    await page.mouse.up();
    await page.waitForTimeout(700);
    const after = await offset(page);
    assert.ok(Math.abs(after[0] - before[0]) > 100, `the canvas did not move: ${before} ${after}`);
    const { mutations, calls } = await counted(page);
    assert.deepEqual([mutations, calls], [[], 0]);
    // and the counting does count: a value that changes is told, once a frame at most
    await page.evaluate(async (scripts) => {
      const { setWidget } = await import(`${scripts}/graph.js`);
      const node = window.app.graph.nodes.find((each) => each.comfyClass === "LoomVideoSampler");
      setWidget(node, "steps", 3);
      document.querySelector("[data-loom-panel='loom_probe'] button").textContent = "Changed";
      await new Promise((resolve) => setTimeout(resolve, 500));
    }, SCRIPTS);
    const now = await counted(page);
    assert.ok(now.calls > 0 && now.mutations.length > 0, JSON.stringify(now));
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
