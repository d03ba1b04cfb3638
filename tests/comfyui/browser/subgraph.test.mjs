// Our nodes in a subgraph: a widget that a panel hides is seen where it is promoted to.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open, panel, picture, ready } from "./page.mjs";

const KIND = "LoomVideoDeepstackEncode";
const PLAIN = "Use the background of @Image 1."; // of the workflow reference_edit

/** ComfyUI's own widget of the subgraph's node, where it is shown. */
const promoted = (page) => page.getByRole("textbox", { name: "prompt", exact: true }).and(page.locator("textarea")).filter({ visible: true });
const queued = (page) =>
  page.evaluate(async (kind) => Object.values((await window.app.graphToPrompt()).output).find((node) => node.class_type === kind).inputs.prompt, KIND);

/** Puts the encode node into a subgraph, as ComfyUI's command does with what is selected. */
async function intoSubgraph(page) {
  await page.evaluate(async (kind) => {
    const { app } = window;
    app.canvas.deselectAll();
    app.canvas.select(app.graph.nodes.find((node) => node.comfyClass === kind));
    await app.extensionManager.command.execute("Comfy.Graph.ConvertToSubgraph");
  }, KIND);
  await page.waitForFunction(() => window.app.graph.nodes.some((node) => node.subgraph));
}

/** Connects the prompt to a new input of the subgraph, which is what promoting a widget does. */
const promote = (page) =>
  page.evaluate((kind) => {
    const { subgraph } = window.app.graph.nodes.find((node) => node.subgraph);
    const inner = subgraph.nodes.find((node) => node.comfyClass === kind);
    const slot = inner.inputs.find((input) => input.name === "prompt");
    subgraph.addInput("prompt", "STRING").connect(slot, inner);
    window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
  }, KIND);

const showSubgraph = (page) =>
  page.evaluate(() => {
    const { canvas } = window.app;
    const node = window.app.graph.nodes.find((each) => each.subgraph);
    const box = canvas.canvas.getBoundingClientRect();
    canvas.ds.scale = 1;
    canvas.ds.offset[0] = box.width / 2 - node.pos[0] - node.size[0] / 2;
    canvas.ds.offset[1] = box.height / 2 - node.pos[1] - node.size[1] / 2;
    canvas.setDirty(true, true);
  });

for (const renderer of RENDERERS) {
  test(`a promoted prompt is seen, written and queued, ${renderer}`, async () => {
    const page = await open({ template: "reference_edit", renderer });
    await intoSubgraph(page);
    await promote(page);
    await showSubgraph(page);
    await promoted(page).waitFor();
    assert.equal(await promoted(page).inputValue(), PLAIN);
    await promoted(page).click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" Make it dark.");
    assert.equal(await queued(page), `${PLAIN} Make it dark.`);
    await picture(page, `subgraph_${renderer}`);
    await page.evaluate(() => document.activeElement?.blur?.());
    await page.evaluate(() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState());
    await page.waitForTimeout(2500); // ComfyUI keeps what changed after a moment
    await page.reload({ waitUntil: "domcontentloaded" });
    await ready(page);
    await showSubgraph(page);
    await promoted(page).waitFor();
    assert.equal(await promoted(page).inputValue(), `${PLAIN} Make it dark.`);
    assert.equal(await queued(page), `${PLAIN} Make it dark.`);

    // inside, the editor tells where the prompt comes from
    await page.evaluate(() => {
      const node = window.app.graph.nodes.find((each) => each.subgraph);
      window.app.canvas.openSubgraph(node.subgraph, node);
    });
    await panel(page, "loom_prompt").getByRole("textbox").waitFor();
    await page.waitForTimeout(500);
    await page.evaluate(() => window.app.canvas.ds.fitToBounds?.(window.app.canvas.graph.nodes[0].boundingRect));
    await page.waitForTimeout(500);
    await picture(page, `subgraph_inside_${renderer}`);
    assert.equal(await panel(page, "loom_prompt").getByRole("textbox").getAttribute("aria-readonly"), "true");
    if (renderer === "classic") {
      const room = await page.evaluate(() => {
        const node = window.app.canvas.graph.nodes[0];
        const last = node.findInputSlot("latent");
        return node.pos[1] + node.widgets.find((widget) => widget.name === "loom_prompt").y - node.getInputPos(last)[1];
      });
      assert.ok(room > 0 && room < 40, `${room} between the inputs and the editor, where the hidden widget was`);
    }
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
}
