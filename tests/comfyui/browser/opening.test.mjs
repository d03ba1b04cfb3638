// Workflows that open: another without a click, so that nothing takes the focus or the pointer from a panel first, and the same
// again, after a reload of the page and from its file.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { RENDERERS, SERVER, drop, open, panel, picture, ready, show, value } from "./page.mjs";

const OTHER = fileURLToPath(new URL("../../../workflows/image_edit.json", import.meta.url));
const PROMPT = "Use the background of @Image 1."; // of the workflow reference_edit

/** Ways in which another workflow opens. @type {Record<string, (page: any) => Promise<void>>} */
const WAYS = {
  "by a command": (page) => page.evaluate(() => window.app.extensionManager.command.execute("Comfy.NewBlankWorkflow")),
  "by a file that is dropped": (page) => drop(page, "image_edit.json", "application/json", readFileSync(OTHER)),
  "by what Ctrl+O does": async (page) => {
    const chooser = page.waitForEvent("filechooser");
    await page.evaluate(() => void window.app.extensionManager.command.execute("Comfy.OpenWorkflow"));
    await (await chooser).setFiles(OTHER);
  },
};

/** Holds what is to be dragged, and moves it. */
async function hold(page, locator, dx, dy) {
  const box = await locator.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x + dx, y + dy, { steps: 4 });
}

/** What is done in a panel meanwhile; gives what tells that it is still there. @type {Record<string, (page: any) => Promise<any>>} */
const PANELS = {
  "a prompt is written": async (page) => {
    await show(page, "LoomVideoDeepstackEncode");
    await panel(page, "loom_prompt").getByRole("textbox").click({ position: { x: 40, y: 20 } });
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" Half a");
  },
  "an end of the clip is dragged": async (page) => {
    await show(page, "LoomVideoSourceLatentScaler");
    const end = panel(page, "loom_timeline").getByRole("slider", { name: "End of the edit" });
    await end.waitFor({ timeout: 60_000 });
    await hold(page, end, -60, 0);
  },
  "a card is held": async (page) => {
    await show(page, "LoomVideoReferenceSlots");
    const card = panel(page, "reference strip").locator(".loom-strip-card").first();
    await card.focus();
    await hold(page, card, 0, 20);
  },
};

const state = (page) =>
  page.evaluate(() => {
    const { activeWorkflow, openWorkflows } = window.app.extensionManager.workflow;
    const saved = openWorkflows.find((each) => each.filename === "reference_edit").activeState;
    return { filename: activeWorkflow.filename, links: window.app.graph.links.size, nodes: window.app.graph.nodes.length, saved: saved.nodes.length };
  });

for (const renderer of RENDERERS)
  for (const [what, act] of Object.entries(PANELS))
    test(`a workflow that opens while ${what} leaves that one whole, ${renderer}`, async () => {
      const page = await open({ template: "reference_edit", renderer });
      const before = await state(page);
      assert.equal(before.filename, "reference_edit");
      for (const [how, opens] of Object.entries(WAYS)) {
        await act(page);
        await opens(page);
        await page.waitForFunction(() => window.app.extensionManager.workflow.activeWorkflow.filename !== "reference_edit", null, { timeout: 60_000 });
        await page.mouse.up();
        await page.waitForTimeout(1500); // longer than the editor waits before it remembers
        assert.equal((await state(page)).saved, before.saved, `the state that is kept, ${how}`);
        await page.locator(".workflow-tab .workflow-label").getByText("reference_edit", { exact: true }).click();
        await page.waitForFunction(() => window.app.extensionManager.workflow.activeWorkflow.filename === "reference_edit", null, { timeout: 60_000 });
        await page.waitForFunction((count) => window.app.graph.nodes.length === count, before.nodes, { timeout: 20_000 });
        assert.deepEqual(await state(page), before, how);
      }
      const typed = what.includes("prompt") ? " Half a".repeat(Object.keys(WAYS).length) : "";
      assert.equal(await value(page, "LoomVideoDeepstackEncode", "prompt"), PROMPT + typed);
      assert.deepEqual(page.errors, []);
      await page.context().close();
    });

/** The state of what was set, and the panels that tell of it. */
async function stands(page) {
  await show(page, "LoomVideoReferenceSlots", 0.9);
  await panel(page, "loom_timeline").getByText(/of 33 frames/).waitFor({ timeout: 60_000 });
  await panel(page, "reference strip").locator("img").first().waitFor();
  await panel(page, "loom_timeline").locator("canvas").nth(7).waitFor({ state: "attached" });
  await panel(page, "loom_prompt").getByText("Keep the shapes").waitFor();
  return [await value(page, "LoomVideoSourceLatentScaler", "max_frames"), await value(page, "LoomVideoDeepstackEncode", "prompt")];
}

for (const renderer of RENDERERS)
  test(`after a reload, and opened from its file, the panels show what was set, ${renderer}`, async () => {
    const page = await open({ template: "reference_edit", renderer });
    const saved = `${SERVER}/userdata/${encodeURIComponent("workflows/reference_edit.json")}`;
    await show(page, "LoomVideoSourceLatentScaler");
    await panel(page, "loom_timeline").getByRole("slider", { name: "End of the edit" }).press("PageDown");
    await show(page, "LoomVideoDeepstackEncode");
    await panel(page, "loom_prompt").getByRole("textbox").click({ position: { x: 40, y: 20 } });
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" Keep the shapes.");
    const set = await stands(page);
    assert.equal(set[1], `${PROMPT} Keep the shapes.`);
    const isKept = () => [localStorage, sessionStorage].some((store) => Object.values({ ...store }).some((each) => each.includes("Keep the shapes.")));
    await page.waitForFunction(isKept, null, { timeout: 60_000 });
    await page.reload({ waitUntil: "domcontentloaded" });
    await ready(page, 5);
    assert.deepEqual(await stands(page), set);
    await page.keyboard.press("Control+s");
    await page.locator("[role=dialog] input").press("Enter");
    let file = "";
    for (const end = Date.now() + 60_000; !file.endsWith("}") && Date.now() < end; await page.waitForTimeout(250)) {
      const answer = await fetch(saved);
      if (answer.ok) file = await answer.text();
    }
    await fetch(saved, { method: "DELETE" });
    await page.context().close();
    const again = await open({ renderer });
    await again.evaluate((text) => window.app.loadGraphData(JSON.parse(text), true, true, "reference_edit").then(() => {}), file);
    assert.deepEqual(await stands(again), set);
    await again.evaluate(() => {
      const { canvas, graph } = window.app;
      const [left, top, width] = graph._groups.find((group) => group.title.startsWith("3")).boundingRect;
      const box = canvas.canvas.getBoundingClientRect();
      canvas.ds.scale = 0.68;
      canvas.ds.offset = [box.width / 0.68 / 2 - left - width / 2, -160 / 0.68 - top]; // from the timeline down to the prompt
      canvas.setDirty(true, true);
    });
    await again.waitForTimeout(1500);
    await picture(again, `reopened-${renderer}`);
    assert.deepEqual(again.errors, []);
    await again.context().close();
  });
