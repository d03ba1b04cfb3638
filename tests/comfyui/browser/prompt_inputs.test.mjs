// What happens to the prompt editor and the strip while somebody is in the middle of an input.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open, panel, ready, show, value } from "./page.mjs";

const KIND = "LoomVideoDeepstackEncode";
const SLOTS = "LoomVideoReferenceSlots";
const PLAIN = "Use the background of @Image 1."; // of the workflow reference_edit

const field = (page) => panel(page, "loom_prompt").getByRole("textbox");
const options = (page) => page.getByRole("option", { name: /@Image/ });

/** Opens the workflow with two references, and puts the caret at the end of its prompt. */
async function edit(renderer) {
  const page = await open({ template: "reference_edit", renderer });
  await change(
    page,
    `const node = LiteGraph.createNode("LoadImage");
    graph.add(node);
    node.pos = [908, 1300];
    node.widgets[0].value = slots.getInputNode(slots.findInputSlot("images.image_1")).widgets[0].value;
    node.connect(0, slots, slots.findInputSlot("images.image_2"));`,
  );
  await show(page, KIND);
  await panel(page, "loom_prompt").getByText("@Image 2 is never mentioned").waitFor();
  await field(page).click({ position: { x: 40, y: 20 } });
  await page.keyboard.press("Control+End");
  return page;
}

/** Does something with the graph, and makes it a step of undo. */
const change = (page, how) =>
  page.evaluate((text) => {
    const of = (kind) => window.app.graph.nodes.find((node) => node.comfyClass === kind);
    const { graph } = window.app;
    new Function("slots", "encode", "graph", "LiteGraph", text)(of("LoomVideoReferenceSlots"), of("LoomVideoDeepstackEncode"), graph, window.LiteGraph);
    window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
  }, how);

for (const renderer of RENDERERS) {
  test(`the list follows the graph while it is open, ${renderer}`, async () => {
    const page = await edit(renderer);
    await page.keyboard.type(" @");
    await options(page).nth(1).waitFor();
    await page.keyboard.press("ArrowDown");
    const marked = () => page.locator('.loom-prompt-choice[aria-selected="true"] b').innerText();
    assert.equal(await marked(), "@Image 2");
    await change(page, `slots.getInputNode(slots.findInputSlot("images.image_2")).title = "A garment";`);
    await options(page).getByText("A garment").waitFor();
    assert.equal(await marked(), "@Image 2", "the choice stays with its reference");
    await change(page, `slots.getInputNode(slots.findInputSlot("images.image_2")).mode = 4;`);
    await options(page).nth(1).waitFor({ state: "detached" });
    await page.keyboard.press("Enter");
    assert.equal(await value(page, KIND, "prompt"), `${PLAIN} @Image 1 `);
    await page.keyboard.type("@");
    await options(page).first().waitFor();
    await change(page, `slots.disconnectInput(slots.findInputSlot("images.image_2")); slots.disconnectInput(slots.findInputSlot("images.image_1"));`);
    await page.getByText("No reference is connected.").waitFor();
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`what was typed just before a reload is kept, ${renderer}`, async () => {
    const page = await edit(renderer);
    const wanted = `${PLAIN} In the rain`;
    await page.keyboard.type(" In the rain");
    const remembered = await page.evaluate((kind) => {
      window.dispatchEvent(new PageTransitionEvent("pagehide")); // as the page goes
      const { activeState } = window.app.extensionManager.workflow.activeWorkflow.changeTracker;
      return activeState.nodes.find((node) => node.type === kind).widgets_values[0];
    }, KIND);
    assert.equal(remembered, wanted);
    // ComfyUI keeps it a moment later; from 1.58 on at once
    const isKept = (text) => [localStorage, sessionStorage].some((store) => Object.values({ ...store }).some((each) => each.includes(text)));
    const isAtOnce = await page.evaluate(() => Number(window.__COMFYUI_FRONTEND_VERSION__?.split(".")[1]) >= 58);
    if (!isAtOnce) await page.waitForFunction(isKept, wanted, { timeout: 60_000 });
    await page.reload();
    await ready(page, 5);
    assert.equal(await value(page, KIND, "prompt"), wanted);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`a composition with the list open narrows it at its end, ${renderer}`, async () => {
    const page = await edit(renderer);
    await change(page, `slots.getInputNode(slots.findInputSlot("images.image_2")).title = "红衣";`);
    const client = await page.context().newCDPSession(page);
    await page.keyboard.type(" @");
    await options(page).nth(1).waitFor();
    await client.send("Input.imeSetComposition", { text: "hong", selectionStart: 4, selectionEnd: 4 });
    assert.equal(await options(page).count(), 0, "the keys, and the place, are the input method's");
    await client.send("Input.insertText", { text: "红" });
    await options(page).first().waitFor();
    assert.deepEqual(await options(page).locator("b").allTextContents(), ["@Image 2"]);
    await page.keyboard.press("Enter");
    assert.equal(await value(page, KIND, "prompt"), `${PLAIN} @Image 2 `);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`nothing is written into a prompt that comes from another node, ${renderer}`, async () => {
    const page = await edit(renderer);
    await change(
      page,
      `const given = LiteGraph.createNode("PrimitiveStringMultiline");
      graph.add(given);
      given.pos = [900, 1700];
      given.connect(0, encode, encode.findInputSlot("prompt"));`,
    );
    await page.waitForFunction(() => document.querySelector(".loom-prompt-field").getAttribute("aria-readonly") === "true");
    await field(page).focus();
    await field(page).evaluate((element) => {
      const data = new DataTransfer();
      data.setData("text/plain", "Pasted.");
      element.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
    });
    assert.equal(await value(page, KIND, "prompt"), PLAIN, "what was typed before is kept");
    assert.equal((await field(page).innerText()).trim(), "");
    await page.context().close();
  });
}

test("the strip shows what changed while a card was held", async () => {
  const page = await edit("classic");
  await show(page, SLOTS);
  const card = panel(page, "reference strip").locator(".loom-strip-card").first();
  const box = await card.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await change(page, `slots.getInputNode(slots.findInputSlot("images.image_1")).title = "A room";`);
  await page.waitForTimeout(300);
  assert.equal(await card.getByText("A room").count(), 0, "not while it is held");
  await page.mouse.up();
  await card.getByText("A room").waitFor({ timeout: 5000 });
  assert.deepEqual(page.errors, []);
  await page.context().close();
});
