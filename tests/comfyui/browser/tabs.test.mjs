// Which sampler a run is shown at: two open workflows of one template, copies of a sampler, prompts that no page queued.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { RENDERERS, SERVER, comparable, open, panel, press, ready, show, status } from "./page.mjs";

const SAMPLER = "LoomVideoSampler";
const TEMPLATE = "image_edit";
const LIMIT = { timeout: 90_000 };
const seed = () => Math.floor(Math.random() * 1e12);
const get = async (path) => (await fetch(`${SERVER}${path}`)).json();
const post = (path, body = {}) =>
  fetch(`${SERVER}${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** The numbers of the samplers, and what the panel and the button of each say. */
const said = (page) =>
  page.evaluate(() => ({
    runs: [...document.querySelectorAll("[data-loom-panel=loom_run]")].map((each) => `${each.dataset.status}: ${each.querySelector(".loom-run-what").textContent}`),
    buttons: [...document.querySelectorAll("[data-loom-panel=wipe_button] button")].filter((each) => !each.disabled).length,
  }));

/** Opens the template in another tab, as the list of templates does. */
async function openAgain(page) {
  await page.evaluate(async () => {
    await window.app.extensionManager.command.execute("Comfy.NewBlankWorkflow");
  });
  await page.waitForFunction(() => window.app.graph.nodes.length === 0, null, LIMIT);
  const graph = JSON.parse(readFileSync(new URL(`../../../workflows/${TEMPLATE}.json`, import.meta.url)));
  await page.evaluate(([content, name]) => window.app.loadGraphData(content, true, true, name).then(() => {}), [graph, TEMPLATE]);
  await settled(page);
}

/** Waits for a sampler's panel to be drawn where it is. */
async function settled(page) {
  await page.waitForFunction((kind) => window.app.graph.nodes.some((node) => node.comfyClass === kind), SAMPLER, LIMIT);
  await show(page, SAMPLER);
  await panel(page, "loom_run").first().waitFor(LIMIT);
  await page.waitForTimeout(700);
}

/** Goes to an open workflow by its tab. */
async function goTo(page, name) {
  await page.locator(".workflow-tab .workflow-label").getByText(name, { exact: true }).click();
  await page.waitForFunction((wanted) => window.app.extensionManager.workflow.activeWorkflow.filename === wanted, name, LIMIT);
  await settled(page);
}

const filename = (page) => page.evaluate(() => window.app.extensionManager.workflow.activeWorkflow.filename);
const given = (page, values) =>
  page.evaluate(
    ([kind, wanted]) => {
      for (const node of window.app.graph.nodes.filter((each) => each.comfyClass === kind))
        for (const [name, value] of Object.entries(wanted)) node.widgets.find((each) => each.name === name).value = value;
    },
    [SAMPLER, values],
  );
const queue = (page) => page.evaluate(() => window.app.queuePrompt(0, 1).then(() => {}));
const idle = async () => {
  const end = Date.now() + LIMIT.timeout;
  while (!Object.values(await get("/queue")).every((prompts) => !prompts.length)) {
    assert.ok(Date.now() < end, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
};
const running = (page) =>
  page.waitForFunction(() => /^Step \d/.test(document.querySelector("[data-loom-panel=loom_run] .loom-run-what")?.textContent), null, LIMIT);

const NOTHING = { runs: ["idle: Not run yet"], buttons: 0 };

for (const renderer of RENDERERS)
  test(`of two open workflows of one template, only that shows a run which was run, ${renderer}`, async () => {
    const page = await open({ template: TEMPLATE, renderer });
    await settled(page);
    const first = await filename(page);
    await openAgain(page);
    const second = await filename(page);
    assert.notEqual(first, second);
    const ids = await page.evaluate(
      (names) => window.app.extensionManager.workflow.openWorkflows.filter((each) => names.includes(each.filename)).map((each) => each.activeState.id),
      [first, second],
    );
    assert.ok(ids.length === 2 && ids[0] === ids[1], `ids ${ids}`);
    assert.deepEqual(await said(page), NOTHING);

    await goTo(page, first);
    await given(page, { seed: seed(), control_after_generate: "fixed", steps: 60 });
    await queue(page);
    await running(page);
    await goTo(page, second);
    assert.equal((await get("/queue")).queue_running.length, 1, "the run is over too early for this test");
    assert.deepEqual(await said(page), NOTHING);
    await idle();
    await page.waitForTimeout(1000);
    assert.deepEqual(await said(page), NOTHING); // ComfyUI shows the picture there, too
    await goTo(page, first);
    await status(page, "done");
    await comparable(page);

    // an equal run of the other: what it has is its own, though it is the same file
    await goTo(page, second);
    assert.deepEqual(await said(page), NOTHING);
    await given(page, { seed: seed(), control_after_generate: "fixed", steps: 2 });
    await queue(page);
    await status(page, "done");
    await comparable(page);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

test("a run comes back to the workflow that queued it after the page was loaded anew", async () => {
  const page = await open({ template: TEMPLATE });
  await settled(page);
  const first = await filename(page);
  await openAgain(page);
  const second = await filename(page);
  await given(page, { seed: seed(), steps: 1000 });
  await queue(page);
  await running(page);
  await page.reload({ waitUntil: "domcontentloaded" });
  await ready(page, 5);
  await settled(page);
  if ((await filename(page)) !== second) await goTo(page, second);
  await running(page);
  await goTo(page, first);
  assert.deepEqual(await said(page), NOTHING);
  await goTo(page, second);
  await running(page);
  await post("/interrupt");
  await status(page, "cancelled");
  await page.context().close();
});

test("a copied sampler shows nothing of the run of the one that it was copied from", async () => {
  const page = await open({ template: TEMPLATE });
  await settled(page);
  await page.evaluate((kind) => window.app.canvas.selectItems(window.app.graph.nodes.filter((node) => node.comfyClass === kind)), SAMPLER);
  await press(page, "c");
  // what Ctrl+Shift+V does: with its links, so that all that comes before is shared, while nothing saves what it makes
  await page.evaluate(() => window.app.canvas.pasteFromClipboard({ connectInputs: true }));
  await page.waitForFunction((kind) => window.app.graph.nodes.filter((node) => node.comfyClass === kind).length === 2, SAMPLER, LIMIT);
  await page.waitForFunction(() => document.querySelectorAll("[data-loom-panel=loom_run]").length === 2, null, LIMIT);
  await given(page, { seed: seed(), control_after_generate: "fixed", steps: 20 });
  await page.evaluate(() => {
    window.seen = [new Set(), new Set()];
    document.querySelectorAll("[data-loom-panel=loom_run]").forEach((element, index) => {
      const look = () => window.seen[index].add(element.dataset.status);
      look();
      new MutationObserver(look).observe(element, { attributes: true });
    });
  });
  await queue(page);
  await status(page, "done");
  await page.waitForTimeout(700);
  const seen = await page.evaluate(() => window.seen.map((each) => [...each]));
  assert.ok(seen[0].includes("running"), JSON.stringify(seen));
  assert.deepEqual(seen[1], ["idle"]);
  const { runs, buttons } = await said(page);
  assert.deepEqual([runs.map((each) => each.split(":")[0]), buttons], [["done", "idle"], 1]);
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

test("a prompt that came without a page is told to all of them, and shown by none", async () => {
  const page = await open({ template: TEMPLATE });
  await settled(page);
  const prompt = await page.evaluate(async () => (await window.app.graphToPrompt()).output);
  Object.assign(prompt["8"].inputs, { seed: seed(), steps: 12 });
  const heard = page.evaluate(async () => {
    const { api } = await import("/scripts/api.js");
    return new Promise((resolve) => api.addEventListener("progress_state", () => resolve(true)));
  });
  assert.ok((await (await post("/prompt", { prompt })).json()).prompt_id);
  await heard;
  await page.waitForTimeout(1500);
  assert.deepEqual(await said(page), NOTHING);
  await idle();
  await page.waitForTimeout(500);
  assert.deepEqual(await said(page), NOTHING);
  await page.context().close();
});
