// A copy of a node, made with Ctrl+C and Ctrl+V, has panels of its own: what is done in them stays in the copy.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, SERVER, open, picture, ready } from "./page.mjs";

const [ENCODE, SLOTS, SCALER] = ["LoomVideoDeepstackEncode", "LoomVideoReferenceSlots", "LoomVideoSourceLatentScaler"];
/** Kinds of nodes, and the panels on each. */
const PANELS = {
  [ENCODE]: ["loom_prompt"],
  [SLOTS]: ["reference strip"],
  [SCALER]: ["loom_timeline"],
  LoomVideoSampler: ["loom_run"],
  LoomVideoRestoreVideo: ["wipe"],
};
const PLAIN = "Use the background of @Image 1."; // of the workflow reference_edit

const idsOf = (page, kind) => page.evaluate((wanted) => window.app.graph.nodes.filter((node) => node.comfyClass === wanted).map((node) => node.id), kind);
const value = (page, id, name) => page.evaluate(([node, key]) => window.app.graph.getNodeById(node).widgets.find((each) => each.name === key).value, [id, name]);

/** Centres a node. */
async function showNode(page, id) {
  await page.evaluate((wanted) => {
    const { canvas, graph } = window.app;
    const node = graph.getNodeById(wanted);
    const box = canvas.canvas.getBoundingClientRect();
    canvas.ds.scale = 1;
    canvas.ds.offset[0] = box.width / 2 - node.pos[0] - node.size[0] / 2;
    canvas.ds.offset[1] = Math.max(box.height / 2 - node.pos[1] - node.size[1] / 2, 90 - node.pos[1]);
    canvas.setDirty(true, true);
  }, id);
  await page.waitForTimeout(500);
}

const copy = async (page, id) => {
  await page.evaluate((wanted) => {
    document.activeElement?.blur?.();
    window.app.canvas.deselectAll();
    window.app.canvas.select(window.app.graph.getNodeById(wanted));
    window.app.canvas.canvas.focus();
  }, id);
  await page.keyboard.press("Control+c");
};

/** Pastes with real keys, and moves what was pasted away from all else. @returns {Promise<number | string>} Its id. */
async function paste(page, kind, keys = "Control+v") {
  const before = await idsOf(page, kind);
  await page.keyboard.press(keys);
  await page.waitForFunction(([wanted, count]) => window.app.graph.nodes.filter((node) => node.comfyClass === wanted).length === count + 1, [kind, before.length], { timeout: 60_000 });
  const id = (await idsOf(page, kind)).find((each) => !before.includes(each));
  await page.evaluate((made) => (window.app.graph.getNodeById(made).pos = [4000, 4000]), id);
  await showNode(page, id);
  return id;
}

/** The panel of one of several nodes of a kind. */
async function panelOf(page, id, name) {
  const mark = `${id} ${name}`;
  await page.waitForFunction(([node, key]) => window.app.graph.getNodeById(node)?.widgets.find((each) => each.name === key)?.element?.isConnected, [id, name], { timeout: 60_000 });
  await page.evaluate(([node, key, told]) => (window.app.graph.getNodeById(node).widgets.find((each) => each.name === key).element.dataset.test = told), [id, name, mark]);
  return page.locator(`[data-test="${mark}"]`);
}

for (const renderer of RENDERERS) {
  test(`prompt editor and reference strip of a copy, ${renderer}`, async () => {
    const page = await open({ template: "reference_edit", renderer });
    const [original] = await idsOf(page, ENCODE);
    await copy(page, original);
    const made = await paste(page, ENCODE, "Control+Shift+v"); // with the links that come in
    const field = (await panelOf(page, made, "loom_prompt")).getByRole("textbox");
    await field.locator(".loom-prompt-chip").waitFor();
    await field.click({ position: { x: 40, y: 40 } });
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" Of the copy.");
    assert.equal(await value(page, made, "prompt"), `${PLAIN} Of the copy.`);
    assert.equal(await value(page, original, "prompt"), PLAIN);
    await picture(page, `copy_prompt_${renderer}`);
    await showNode(page, original);
    const first = (await panelOf(page, original, "loom_prompt")).getByRole("textbox");
    await first.click({ position: { x: 40, y: 40 } });
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" Of the first.");
    assert.equal(await value(page, original, "prompt"), `${PLAIN} Of the first.`);
    assert.equal(await value(page, made, "prompt"), `${PLAIN} Of the copy.`);
    await showNode(page, made);
    assert.match(await field.innerText(), /Of the copy\.\s*$/);

    const [slots] = await idsOf(page, SLOTS);
    await copy(page, slots);
    const second = await paste(page, SLOTS, "Control+Shift+v");
    const [mine, theirs] = [await panelOf(page, second, "reference strip"), await panelOf(page, slots, "reference strip")];
    await mine.locator(".loom-strip-card").waitFor();
    await page.evaluate((id) => {
      const node = window.app.graph.getNodeById(id);
      node.disconnectInput(node.findInputSlot("images.image_1"));
    }, second);
    await mine.locator(".loom-strip-card").waitFor({ state: "detached" });
    assert.equal(await theirs.locator(".loom-strip-card").count(), 1);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`timeline of a copy; each copy has its panels, ${renderer}`, async () => {
    const page = await open({ template: "video_edit", renderer });
    const [original] = await idsOf(page, SCALER);
    await copy(page, original);
    const made = await paste(page, SCALER, "Control+Shift+v");
    const timeline = await panelOf(page, made, "loom_timeline");
    const end = timeline.getByRole("slider", { name: "End of the edit" });
    await timeline.locator(".loom-timeline-line").filter({ hasText: "33 frames at 24 → 33" }).waitFor({ timeout: 60_000 });
    const before = await value(page, original, "max_frames");
    await end.press("ArrowLeft");
    assert.equal(await value(page, made, "max_frames"), 29);
    assert.equal(await value(page, original, "max_frames"), before);
    await timeline.locator(".loom-timeline-tab").last().click();
    await timeline.getByRole("slider", { name: "Point of the curve" }).first().waitFor();
    await showNode(page, original);
    const theirs = await panelOf(page, original, "loom_timeline");
    assert.equal(await theirs.locator(".loom-timeline-tab").last().getAttribute("aria-pressed"), "false");

    for (const [kind, names] of Object.entries(PANELS)) {
      const [first] = await idsOf(page, kind);
      if (first === undefined) continue;
      await copy(page, first);
      const again = await paste(page, kind);
      for (const name of names) {
        await panelOf(page, again, name);
        const isShared = await page.evaluate(([ids, key]) => {
          const elements = ids.map((id) => window.app.graph.getNodeById(id).widgets.find((each) => each.name === key).element);
          return elements[0] === elements[1];
        }, [[first, again], name]);
        assert.equal(isShared, false, `${kind}: ${name}`);
      }
    }
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
}

test("copied on one page, pasted on another", async () => {
  const page = await open({ template: "reference_edit" });
  const [original] = await idsOf(page, ENCODE);
  await copy(page, original);
  const other = await page.context().newPage();
  await other.route((url) => !["127.0.0.1", "localhost"].includes(url.hostname), (route) => route.abort());
  await other.goto(SERVER, { waitUntil: "domcontentloaded" });
  await ready(other, 1);
  await other.evaluate(() => window.app.canvas.canvas.focus());
  const made = await paste(other, ENCODE);
  const field = (await panelOf(other, made, "loom_prompt")).getByRole("textbox");
  await field.click({ position: { x: 40, y: 40 } });
  await other.keyboard.press("Control+End");
  await other.keyboard.type(" Elsewhere.");
  assert.equal(await value(other, made, "prompt"), `${PLAIN} Elsewhere.`);
  assert.equal(await value(page, original, "prompt"), PLAIN);
  await page.context().close();
});
