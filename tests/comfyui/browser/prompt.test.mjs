// The prompt editor on Deepstack Encode, with real keys and a real mouse.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open, panel, picture, press, ready, show, value, violations } from "./page.mjs";

const KIND = "LoomVideoDeepstackEncode";
const NAME = "loom_prompt";
const PLAIN = "Use the background of @Image 1."; // of the workflow reference_edit

const field = (page) => panel(page, NAME).getByRole("textbox");
const chips = (page) => panel(page, NAME).locator(".loom-prompt-chip");
const options = (page) => page.getByRole("option", { name: /@Image/ });
const problems = (page) => panel(page, NAME).getByRole("status");
const text = (page) => value(page, KIND, "prompt");
const queued = (page) =>
  page.evaluate(async (kind) => Object.values((await window.app.graphToPrompt()).output).find((node) => node.class_type === kind).inputs.prompt, KIND);

/** ComfyUI's own widget, where it is shown. */
const plainWidget = (page) =>
  page.getByRole("textbox", { name: "prompt", exact: true }).and(page.locator("textarea")).filter({ visible: true });

/** Opens the workflow with one reference, and puts the caret at the end of its prompt. */
async function edit(options = {}) {
  const page = await open({ template: "reference_edit", ...options });
  await show(page, KIND);
  await caretAtEnd(page);
  return page;
}

async function caretAtEnd(page) {
  await field(page).click({ position: { x: 40, y: 40 } });
  await page.keyboard.press("Control+End");
}

async function close(page) {
  assert.deepEqual(page.errors, []);
  await page.context().close();
}

/** Connects a second picture to the reference slots, as a link drawn by hand would. */
const addReference = (page) =>
  page.evaluate(async () => {
    const { graph } = window.app;
    const slots = graph.nodes.find((node) => node.comfyClass === "LoomVideoReferenceSlots");
    const node = window.LiteGraph.createNode("LoadImage");
    graph.add(node);
    node.pos = [908, 1300];
    const files = node.widgets.find((widget) => widget.name === "image");
    files.value = graph.nodes.find((each) => each.comfyClass === "LoadImage" && each !== node).widgets[0].value;
    node.connect(0, slots, slots.findInputSlot("images.image_2"));
    window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
  });

/** Until a check holds, for what is drawn with the next frame. */
async function until(page, check, message) {
  for (let tries = 0; tries < 100; tries++) {
    if (await check()) return;
    await page.waitForTimeout(100);
  }
  assert.fail(message);
}

for (const renderer of RENDERERS) {
  test(`typing @ offers the references; keys choose, ${renderer}`, async () => {
    const page = await edit({ renderer });
    await page.keyboard.type(" Then @");
    await options(page).first().waitFor();
    assert.match(await options(page).first().innerText(), /@Image 1\s*loomvideo_maroon\.png/);
    const picked = await field(page).getAttribute("aria-activedescendant");
    assert.equal(await page.locator(`[id="${picked}"]`).getAttribute("aria-selected"), "true");
    assert.deepEqual(await violations(page, ".loom-prompt-popup"), []);
    await picture(page, `prompt_choices_${renderer}`);
    await page.keyboard.press("Enter");
    assert.equal(await text(page), `${PLAIN} Then @Image 1 `);
    assert.equal(await chips(page).count(), 2);
    const image = chips(page).last().locator("img");
    await until(page, () => image.evaluate((each) => each.complete && each.naturalWidth > 0), "the chip's picture did not load");
    await page.keyboard.type("again.");
    assert.equal(await text(page), `${PLAIN} Then @Image 1 again.`);
    assert.equal(await queued(page), await text(page));
    assert.deepEqual(await violations(page), []);
    await close(page);
  });

  test(`the list: filter, arrows, mouse, Escape, ${renderer}`, async () => {
    const page = await edit({ renderer });
    await addReference(page);
    await until(page, async () => (await problems(page).innerText()).includes("@Image 2 is never mentioned"), "not marked as unmentioned");
    await page.keyboard.type(" @");
    assert.equal(await options(page).count(), 2);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Tab");
    assert.equal(await text(page), `${PLAIN} @Image 2 `);
    assert.equal((await problems(page).innerText()).trim(), "");
    await page.keyboard.type("@2");
    assert.equal(await options(page).count(), 1);
    await page.keyboard.press("Backspace");
    assert.equal(await options(page).count(), 2);
    await options(page).first().click();
    assert.equal(await text(page), `${PLAIN} @Image 2 @Image 1 `);
    assert.equal(await field(page).evaluate((each) => document.activeElement === each), true, "the focus stays");
    await page.keyboard.type("@im");
    await page.keyboard.press("Escape");
    assert.equal(await options(page).count(), 0);
    await page.keyboard.type("a");
    assert.equal(await options(page).count(), 0, "it stays closed");
    await page.keyboard.press("Backspace");
    await page.keyboard.type(" me@home");
    assert.equal(await options(page).count(), 0);
    assert.equal(await text(page), `${PLAIN} @Image 2 @Image 1 @im me@home`);
    await close(page);
  });

  test(`what does not fit is marked at once, and mended, ${renderer}`, async () => {
    const page = await edit({ renderer });
    await addReference(page);
    await page.keyboard.type(" Not @Image 3, though.");
    await chips(page).locator("xpath=self::*[contains(@class, 'loom-prompt-wrong')]").waitFor();
    await until(page, async () => (await problems(page).innerText()).includes("@Image 2 is never mentioned"), "not marked as unmentioned");
    assert.match(await problems(page).innerText(), /@Image 3 has no reference/);
    assert.deepEqual(await violations(page), []);
    await picture(page, `prompt_problems_${renderer}`);
    await panel(page, NAME).getByRole("button", { name: "Remove: @Image 3" }).click();
    assert.equal(await text(page), `${PLAIN} Not, though.`);
    await panel(page, NAME).getByRole("button", { name: "Mention: @Image 2" }).focus();
    await page.keyboard.press("Enter");
    assert.equal(await text(page), `${PLAIN} Not, though. @Image 2`);
    assert.equal((await problems(page).innerText()).trim(), "");
    await press(page, "z"); // ComfyUI's own: each mending is a step of it
    await until(page, async () => (await text(page)) === `${PLAIN} Not, though.`, "ComfyUI's undo did not take the mention back");
    await until(page, async () => (await field(page).innerText()).trim().endsWith("though."), "the editor does not show what undo left");
    await press(page, "y");
    await until(page, async () => (await chips(page).count()) === 2, "the editor does not show what redo brought");
    await close(page);
  });

  test(`undo and redo in the editor go by words, ${renderer}`, async () => {
    const page = await edit({ renderer });
    await page.keyboard.type(" one two");
    await page.keyboard.press("Control+z");
    assert.equal(await text(page), `${PLAIN} one `);
    await page.keyboard.press("Control+z");
    assert.equal(await text(page), PLAIN);
    await page.keyboard.press("Control+y");
    await page.keyboard.press("Control+Shift+z");
    await page.waitForTimeout(300); // ComfyUI would act a frame later
    assert.equal(await text(page), `${PLAIN} one two`);
    assert.equal((await field(page).innerText()).trim().endsWith("one two"), true);
    await close(page);
  });

  test(`the plain text survives a reload, and a save, ${renderer}`, async () => {
    const page = await edit({ renderer });
    await page.keyboard.type(" @");
    await page.keyboard.press("Enter");
    await page.keyboard.type("and 你好 👍.\nA new line.");
    const expected = `${PLAIN} @Image 1 and 你好 👍.\nA new line.`;
    assert.equal(await text(page), expected);
    await page.waitForTimeout(2500); // ComfyUI keeps what changed after a moment
    const saved = await page.evaluate(() => JSON.stringify(window.app.graph.serialize()));
    await page.reload({ waitUntil: "domcontentloaded" });
    await ready(page);
    await until(page, async () => (await chips(page).count()) === 2, "the editor does not stand after the reload");
    assert.equal(await text(page), expected);
    await page.evaluate(() => window.app.loadGraphData({ ...window.app.graph.serialize(), nodes: [], links: [] }));
    await page.evaluate((graph) => window.app.loadGraphData(JSON.parse(graph)), saved);
    await until(page, async () => (await chips(page).count()) === 2, "the editor does not stand in the graph that was opened");
    assert.equal(await text(page), expected);
    assert.equal(await queued(page), expected);
    await close(page);
  });

  test(`a composition is the input method's until its end, ${renderer}`, async () => {
    const page = await edit({ renderer });
    const client = await page.context().newCDPSession(page);
    const changes = () => field(page).evaluate((root) => (root.loomSeen = [...root.childNodes]) && root.innerText);
    await changes();
    await client.send("Input.imeSetComposition", { text: "ni", selectionStart: 2, selectionEnd: 2 });
    await page.evaluate(() => window.app.graph.nodes.find((node) => node.comfyClass === "LoomVideoDeepstackEncode").widgets[0].callback?.());
    assert.match(await field(page).innerText(), /@Image 1\s*\.ni/, "others may not draw over it");
    await client.send("Input.imeSetComposition", { text: "ni hao", selectionStart: 6, selectionEnd: 6 });
    await client.send("Input.insertText", { text: "你好" });
    assert.equal(await text(page), `${PLAIN}你好`);
    assert.equal(
      await field(page).evaluate((root) => root.loomSeen[1] === root.childNodes[1]),
      true,
      "the chip is the same element, so that its picture does not flicker",
    );
    await client.send("Input.imeSetComposition", { text: "x", selectionStart: 1, selectionEnd: 1 });
    await client.send("Input.imeSetComposition", { text: "", selectionStart: 0, selectionEnd: 0 });
    assert.equal(await text(page), `${PLAIN}你好`, "what was given up is not there");
    await page.keyboard.type("@");
    await options(page).first().waitFor();
    await page.keyboard.press("Enter");
    assert.equal(await text(page), `${PLAIN}你好 @Image 1 `, "a blank before it, without which it is none");
    await page.keyboard.press("Control+z");
    await page.keyboard.press("Control+z");
    await page.keyboard.press("Control+z");
    assert.equal(await text(page), PLAIN);
    await close(page);
  });
}

for (const renderer of RENDERERS) {
  test(`a prompt from another node is shown as such, ${renderer}`, async () => {
    const page = await edit({ renderer });
    await page.evaluate((kind) => {
      const { graph } = window.app;
      const given = window.LiteGraph.createNode("PrimitiveStringMultiline");
      given.title = "My prompt";
      graph.add(given);
      given.pos = [900, 1700];
      const node = graph.nodes.find((each) => each.comfyClass === kind);
      given.connect(0, node, node.findInputSlot("prompt"));
    }, KIND);
    await until(page, async () => (await field(page).getAttribute("aria-readonly")) === "true", "it can still be edited");
    assert.equal(await field(page).getAttribute("aria-placeholder"), "The prompt comes from “My prompt”.");
    assert.equal((await problems(page).innerText()).trim(), "");
    assert.equal(await text(page), PLAIN, "what was typed is kept");
    assert.ok(Array.isArray(await queued(page)), "the link is what is queued");
    assert.deepEqual(await violations(page), []);
    const rows = panel(page, NAME).locator("xpath=ancestor::*[contains(@class, 'lg-node-widgets')]/*");
    if (renderer === "vue") await rows.filter({ hasText: /^\s*prompt/ }).waitFor(); // its socket is where the link ends
    await picture(page, `prompt_given_${renderer}`);
    await page.evaluate((kind) => {
      const node = window.app.graph.nodes.find((each) => each.comfyClass === kind);
      node.disconnectInput(node.findInputSlot("prompt"));
    }, KIND);
    await until(page, async () => (await chips(page).count()) === 1, "the text does not come back");
    await caretAtEnd(page);
    await page.keyboard.type("!");
    assert.equal(await text(page), `${PLAIN}!`);
    await close(page);
  });

  test(`a panel that does not load, or fails, leaves the plain widget, ${renderer}`, async () => {
    const without = await open({ template: "reference_edit", renderer, before: (page) => page.route("**/prompt/field.js", (route) => route.abort()) });
    await show(without, KIND);
    await plainWidget(without).fill("By hand.");
    assert.equal(await queued(without), "By hand.");
    await without.context().close();
    const page = await edit({ renderer });
    assert.equal(await plainWidget(page).count(), 0, "only one of the two is shown");
    await page.keyboard.type(" Kept");
    await page.evaluate(() => (window.Intl.Segmenter = null));
    await page.keyboard.press("Backspace");
    await plainWidget(page).waitFor();
    assert.equal(await panel(page, NAME).filter({ visible: true }).count(), 0);
    assert.equal(await plainWidget(page).inputValue(), `${PLAIN} Kept`);
    await plainWidget(page).fill("By hand.");
    assert.equal(await queued(page), "By hand.");
    assert.match(page.errors.join(), /the prompt editor has failed/);
    await page.context().close();
  });
}

test("what others set shows at once, and the caret stays with its words", async () => {
  const page = await edit();
  for (const _ of "1.") await page.keyboard.press("ArrowLeft"); // over the full stop, and the chip as one
  await page.keyboard.type("x ");
  assert.equal(await text(page), "Use the background of x @Image 1.");
  await page.keyboard.press("ArrowRight");
  const set = (to) =>
    page.evaluate(
      ([kind, prompt]) => (window.app.graph.nodes.find((node) => node.comfyClass === kind).widgets.find((widget) => widget.name === "prompt").value = prompt),
      [KIND, to],
    );
  await set("Now use the background of x @Image 12.");
  assert.match(await field(page).innerText(), /^Now use the background of x\s+@Image 12/);
  await page.keyboard.type("!");
  assert.equal(await text(page), "Now use the background of x @Image 12!.");
  await set("Anything.");
  await page.keyboard.press("Control+z"); // the text of others is no step to go back to
  assert.equal(await text(page), "Anything.");
  await close(page);
});

test("copy and paste are plain text, and a mention is taken as a whole", async () => {
  const page = await edit();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.keyboard.press("Control+a");
  await page.keyboard.press("Control+c");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), PLAIN);
  await page.evaluate(async () => {
    const data = { "text/html": new Blob(["<b>bold</b><img src=x>"], { type: "text/html" }), "text/plain": new Blob(["bold\r\n@image2"], { type: "text/plain" }) };
    await navigator.clipboard.write([new window.ClipboardItem(data)]);
  });
  await page.keyboard.press("End");
  await page.keyboard.press("Control+v");
  assert.equal(await text(page), `${PLAIN}bold\n@image2`);
  assert.equal(await field(page).locator("b, img[src=x]").count(), 0);
  assert.match(await chips(page).last().innerText(), /@Image 2/);
  await page.keyboard.press("Backspace");
  assert.equal(await text(page), `${PLAIN}bold\n`);
  await page.keyboard.press("Control+Backspace");
  await page.keyboard.press("Control+Backspace");
  assert.equal(await text(page), PLAIN);
  await page.keyboard.press("Shift+Home");
  await page.keyboard.press("Control+x");
  assert.equal(await text(page), "");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), PLAIN);
  await page.keyboard.press("Control+v");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await page.keyboard.type("c");
  assert.equal(await text(page), `${PLAIN}\n\nc`);
  assert.equal(await page.evaluate(() => window.app.graph.nodes.filter((node) => node.comfyClass === "LoomVideoDeepstackEncode").length), 1, "no node was pasted");
  await close(page);
});

test("a key in 10,000 characters changes one text node", async () => {
  const page = await edit();
  const long = `${"A red square moves. @Image 1 follows it, 很慢地。 ".repeat(220)}`.slice(0, 10_000);
  await page.evaluate((pasted) => {
    const data = new DataTransfer();
    data.setData("text/plain", pasted);
    document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, long);
  assert.equal((await text(page)).length, PLAIN.length + 10_000);
  await page.keyboard.press("Control+Home");
  for (let step = 0; step < 12; step++) await page.keyboard.press("ArrowRight");
  const seen = await field(page).evaluate((root) => {
    window.loomRecords = [];
    window.loomObserver = new MutationObserver((records) => window.loomRecords.push(...records));
    window.loomObserver.observe(root, { childList: true, characterData: true, attributes: true, subtree: true });
    return root.childNodes.length;
  });
  assert.ok(seen > 300, "there are many chips");
  await page.keyboard.type("ab");
  await page.keyboard.press("Backspace");
  const records = await page.evaluate(() => [...window.loomRecords, ...window.loomObserver.takeRecords()].map((record) => record.type));
  assert.deepEqual(records, ["characterData", "characterData", "characterData"]);
  await close(page);
});

test("numbers that only a run can tell are not called wrong", async () => {
  const page = await edit();
  await page.keyboard.type(" @Image 3 @Image 0");
  await until(page, async () => (await problems(page).innerText()).includes("@Image 0, @Image 3 have no reference"), "not marked");
  const slots = (act) =>
    page.evaluate(([change]) => {
      const { graph } = window.app;
      const node = graph.nodes.find((each) => each.comfyClass === "LoomVideoReferenceSlots");
      const encode = graph.nodes.find((each) => each.comfyClass === "LoomVideoDeepstackEncode");
      if (change === "batch") {
        const batch = window.LiteGraph.createNode("ImageBatch");
        graph.add(batch);
        batch.connect(0, node, node.findInputSlot("images.image_1"));
      } else encode.disconnectInput(encode.findInputSlot("references"));
      window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
    }, [act]);
  await slots("batch");
  await until(page, async () => (await problems(page).innerText()).includes("@Image 0 has no reference"), "a batch may hold three");
  await slots("none");
  await until(page, async () => (await problems(page).innerText()).includes("@Image 0, @Image 1, @Image 3 have no reference"), "nothing is connected");
  await page.keyboard.type(" @");
  await page.getByText("Connect LoomVideo Reference Slots").waitFor();
  assert.deepEqual(await violations(page, ".loom-prompt-popup"), []);
  await close(page);
});

for (const zoom of [1.25, 2]) test(`in Chinese, in the light theme, at ${100 * zoom} %`, async () => {
  const page = await edit({ language: "zh", theme: "light", zoom, renderer: "vue" });
  assert.equal(await field(page).getAttribute("aria-label"), "提示词");
  await page.keyboard.type(" @Image 2 @");
  await options(page).first().waitFor();
  const [list, shown] = [await page.locator(".loom-prompt-popup").boundingBox(), page.viewportSize()];
  assert.ok(list.x >= 0 && list.y >= 0 && list.x + list.width <= shown.width && list.y + list.height <= shown.height, "the list is in the window");
  assert.match(await problems(page).innerText(), /@Image 2 没有对应的参考图/);
  assert.deepEqual(await violations(page, ".loom-prompt-popup"), []);
  assert.deepEqual(await violations(page), []);
  await picture(page, `prompt_zh_light_${100 * zoom}`);
  await close(page);
  const classic = await edit({ language: "en", theme: "light" });
  await classic.keyboard.type(" @Image 2 @");
  await options(classic).first().waitFor();
  assert.deepEqual(await violations(classic, ".loom-prompt-popup"), []);
  assert.deepEqual(await violations(classic), []);
  await picture(classic, "prompt_light_classic");
  await close(classic);
  await (await open({ language: "en", theme: "dark" })).context().close(); // settings outlive the page
});

test("Ctrl+Enter queues, and writes nothing", async () => {
  const page = await edit();
  let posted = null;
  await page.route("**/api/prompt", async (route) => {
    posted = route.request().postDataJSON();
    await route.fulfill({ status: 200, json: { prompt_id: "none", number: 1, node_errors: {} } });
  });
  await page.keyboard.type(" Now");
  await page.keyboard.press("Control+Enter");
  await until(page, async () => posted !== null, "nothing was queued");
  const inputs = Object.values(posted.prompt).find((node) => node.class_type === KIND).inputs;
  assert.equal(inputs.prompt, `${PLAIN} Now`);
  assert.equal(Object.keys(inputs).some((name) => name.startsWith("loom_")), false);
  assert.equal(await text(page), `${PLAIN} Now`);
  await close(page);
});
