// The strip of references: what it says of each, and moving one to another number.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, SERVER, open, panel, picture, press, ready, run, value, violations } from "./page.mjs";
import { ENCODE, PROMPT, SLOTS, stage } from "./slots.mjs";

const strip = (page) => panel(page, "reference strip");
const cards = (page) => strip(page).locator(".loom-strip-card");
const said = (page) => strip(page).locator(".loom-strip-said");
const names = async (page) => (await strip(page).locator(".loom-strip-name").allTextContents()).map((name) => name.replace(/^strip_|\.png$/g, ""));
const numbers = (page) => strip(page).locator("b").allTextContents();
const prompt = (page) => value(page, ENCODE, "prompt");

/** Files in the order in which they are queued. */
const queued = (page) =>
  page.evaluate(async () => {
    const { output } = await window.app.graphToPrompt();
    const slots = Object.values(output).find((node) => node.class_type === "LoomVideoReferenceSlots").inputs;
    const linked = Object.keys(slots).filter((name) => name.startsWith("images.image_")).sort();
    const origin = (link) => (output[link[0]].inputs.image instanceof Array ? origin(output[link[0]].inputs.image) : output[link[0]].inputs.image ?? output[link[0]].class_type);
    return linked.map((name) => origin(slots[name]).replace(/^strip_|\.png$/g, ""));
  });
const slotNames = (page) =>
  page.evaluate(() => window.app.graph.nodes.find((node) => node.comfyClass === "LoomVideoReferenceSlots").inputs.map((input) => input.name).filter((name) => name.startsWith("images.")));

async function is(page, order, text) {
  await page.waitForFunction(
    (wanted) => [...document.querySelectorAll(".loom-strip-name")].map((each) => each.textContent.replace(/^strip_|\.png$/g, "")).join() === wanted.join(),
    order,
    { timeout: 60_000 },
  );
  assert.deepEqual(await queued(page), order);
  assert.equal(await prompt(page), text);
}

async function drag(page, from, to) {
  const [start, end] = [await cards(page).nth(from).boundingBox(), await cards(page).nth(to).boundingBox()];
  await page.mouse.move(start.x + start.width / 2, start.y + start.height / 2);
  await page.mouse.down();
  await page.mouse.move(start.x + start.width / 2, (start.y + end.y) / 2 + start.height / 2, { steps: 4 });
  await page.mouse.move(end.x + end.width / 2, end.y + end.height * (to > from ? 0.8 : 0.2), { steps: 4 });
}

for (const renderer of RENDERERS) {
  test(`what each reference is, ${renderer}`, async () => {
    const page = await stage({ renderer });
    await is(page, ["tall", "small", "cutout"], PROMPT);
    assert.deepEqual(await numbers(page), ["@Image 1", "@Image 2", "@Image 3"]);
    assert.deepEqual(await strip(page).locator(".loom-strip-facts").allTextContents(), ["900 × 1600 · time -10", "96 × 64 · time -20", "832 × 480 · time -30"]);
    const notices = await Promise.all([0, 1, 2].map((at) => cards(page).nth(at).locator(".loom-strip-notice").allTextContents()));
    assert.deepEqual(notices, [
      ["68 % is cut off, top and bottom."],
      ["Smaller than 832 × 480: enlarged 8.7 times.", "13 % is cut off, top and bottom."],
      ["Transparency is left out by the loader: the colours below it are used."],
    ]);
    assert.match(await cards(page).nth(2).locator("img").getAttribute("src"), /channel=rgb/);
    const shaded = await cards(page).nth(0).locator(".loom-strip-kept").evaluate((kept) => kept.offsetHeight / kept.parentElement.offsetHeight);
    assert.ok(Math.abs(shaded - (900 / 1600) * (480 / 832)) < 0.05, `${shaded}`);
    assert.deepEqual(await violations(page), []);
    assert.deepEqual(page.errors, []);
    await picture(page, `strip_${renderer}`);
    await page.context().close();
  });

  test(`a drag renumbers the prompt, and undo takes all of it back, ${renderer}`, async () => {
    const page = await stage({ renderer });
    const slots = await slotNames(page);
    await drag(page, 2, 0);
    await picture(page, `strip_drag_${renderer}`);
    await page.mouse.up();
    const text = "Put @Image 2 beside @image3 on @Image 1.";
    await is(page, ["cutout", "tall", "small"], text);
    assert.deepEqual(await numbers(page), ["@Image 1", "@Image 2", "@Image 3"]);
    assert.deepEqual(await slotNames(page), slots, "no slot came or went");
    assert.match(await said(page).textContent(), /^strip_cutout.png is now @Image 1\. The mentions/);
    assert.equal(await value(page, ENCODE, "negative_prompt"), "@Image 1");
    await press(page, "z");
    await is(page, ["tall", "small", "cutout"], PROMPT);
    await press(page, "y");
    await is(page, ["cutout", "tall", "small"], text);
    assert.deepEqual(await slotNames(page), slots);
    // ComfyUI keeps a draft of the graph in the browser, a moment after each change
    const isKept = (wanted) => [localStorage, sessionStorage].some((store) => Object.values({ ...store }).some((each) => each.includes(wanted)));
    await page.waitForFunction(isKept, text, { timeout: 60_000 });
    await page.reload();
    await ready(page, 5);
    await is(page, ["cutout", "tall", "small"], text);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`keys move a card and keep it in focus, ${renderer}`, async () => {
    const page = await stage({ renderer });
    await cards(page).nth(0).focus();
    await page.keyboard.press("Alt+ArrowRight");
    await is(page, ["small", "tall", "cutout"], "Put @Image 2 beside @image1 on @Image 3.");
    const focused = () => page.evaluate(() => document.activeElement.querySelector(".loom-strip-name")?.textContent);
    assert.equal(await focused(), "strip_tall.png");
    await page.keyboard.press("ArrowDown");
    assert.equal(await focused(), "strip_cutout.png", "an arrow alone goes to the next card");
    await page.keyboard.press("Space");
    assert.equal(await cards(page).nth(2).getAttribute("aria-pressed"), "true");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowUp");
    await is(page, ["cutout", "small", "tall"], "Put @Image 3 beside @image2 on @Image 1.");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter"); // "Later", since "Earlier" is off for the first
    await is(page, ["small", "cutout", "tall"], "Put @Image 3 beside @image1 on @Image 2.");
    await press(page, "z");
    await is(page, ["cutout", "small", "tall"], "Put @Image 3 beside @image2 on @Image 1.");
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`several pictures in a slot have no numbers before a run, ${renderer}`, async () => {
    const change = {
      8: { class_type: "ImageBatch", inputs: { image1: ["2", 0], image2: ["3", 0] } },
      10: { class_type: "PrimitiveInt", inputs: { value: 832 } },
      5: { inputs: { "images.image_2": ["8", 0], width: ["10", 0] } },
      6: { inputs: { prompt: "@Image 1, @Image 2, @Image 3 and @Image 4" } },
    };
    const page = await stage({ renderer, change });
    assert.deepEqual(await numbers(page), ["@Image 1", "@Image 2–?", "@Image ?"]);
    assert.equal(await cards(page).nth(0).locator(".loom-strip-notice").count(), 0, "the width is linked: nothing is known");
    assert.equal(await cards(page).nth(1).locator("img").count(), 0);
    assert.match(await cards(page).nth(1).textContent(), /No picture before it has run\..*May hold several pictures/);
    await cards(page).nth(2).focus();
    await page.keyboard.press("Alt+ArrowUp");
    assert.match(await said(page).textContent(), /^Not moved: .* may hold several pictures/);
    assert.deepEqual(await queued(page), ["tall", "ImageBatch", "cutout"]);
    assert.equal(await prompt(page), "@Image 1, @Image 2, @Image 3 and @Image 4");

    assert.equal(await run(page), "success");
    await cards(page).nth(1).locator("img").waitFor();
    assert.deepEqual(await numbers(page), ["@Image 1", "@Image 2–3", "@Image 4"]);
    assert.match(await cards(page).nth(1).textContent(), /time -20, -30.*2 pictures/);
    assert.equal(await cards(page).nth(0).locator(".loom-strip-notice").textContent(), "68 % is cut off, top and bottom.");
    await picture(page, `strip_run_${renderer}`);
    // the node's own picture of them is not shown a second time
    const preview = (id) => page.locator(`[data-node-id="${id}"] .image-preview`).count();
    if (renderer === "vue") assert.deepEqual([await preview(5), await preview(7)], [0, 1]);
    else
      assert.deepEqual(
        await page.evaluate(() => {
          const { widgets, imgs } = window.app.graph.nodes.find((each) => each.comfyClass === "LoomVideoReferenceSlots");
          return [imgs.length, widgets.filter((widget) => widget.name === "$$canvas-image-preview" && !widget.hidden).length];
        }),
        [1, 0],
      );
    await cards(page).nth(2).focus();
    await page.keyboard.press("Alt+ArrowUp");
    assert.deepEqual(await queued(page), ["tall", "cutout", "ImageBatch"]);
    assert.equal(await prompt(page), "@Image 1, @Image 3, @Image 4 and @Image 2");
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
}

/** Does something with the node of the slots, in the page, and makes it a step of undo. */
const edit = (page, how, word) =>
  page.evaluate(
    ([text, given]) => {
      const of = (kind) => window.app.graph.nodes.find((node) => node.comfyClass === kind);
      new Function("slots", "encode", "graph", "LiteGraph", "given", text)(
        of("LoomVideoReferenceSlots"), of("LoomVideoDeepstackEncode"), window.app.graph, window.LiteGraph, given,
      );
      window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
    },
    [how, word],
  );

for (const renderer of RENDERERS)
  test(`through reroutes of either kind, ${renderer}`, async () => {
    const page = await stage({ renderer });
    await edit(
      page,
      `const [before, after] = [0, 1].map((at) => { const node = LiteGraph.createNode("Reroute"); graph.add(node); node.pos = [200 + 500 * at, 500]; return node; });
      slots.getInputNode(1).connect(0, before, 0);
      before.connect(0, slots, 1);
      slots.connect(0, after, 0);
      after.connect(0, encode, encode.findInputSlot("references"));
      graph.createReroute([300, 560], slots.getInputLink(2));`,
    );
    await is(page, ["tall", "small", "cutout"], PROMPT);
    await drag(page, 0, 1);
    await page.mouse.up();
    await is(page, ["small", "tall", "cutout"], "Put @Image 2 beside @image1 on @Image 3.");
    const kept = () => page.evaluate(() => [window.app.graph.nodes.filter((node) => node.type === "Reroute").length, window.app.graph.reroutes.size, window.app.graph.floatingLinks.size]);
    assert.deepEqual(await kept(), [2, 1, 0]);
    assert.deepEqual(
      await page.evaluate(() => {
        const slots = window.app.graph.nodes.find((node) => node.comfyClass === "LoomVideoReferenceSlots");
        return [1, 2].map((slot) => [slots.getInputNode(slot).type, slots.getInputLink(slot).parentId !== undefined]);
      }),
      [["LoadImage", true], ["Reroute", false]],
    );
    await press(page, "z");
    await is(page, ["tall", "small", "cutout"], PROMPT);
    assert.deepEqual(await kept(), [2, 1, 0]);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

test("each thing is said once", async () => {
  const page = await stage();
  await edit(page, `slots.getInputNode(1).title = "@Image 1: the garment";`);
  await strip(page).getByText("the garment").waitFor();
  const client = await page.context().newCDPSession(page);
  const { root } = await client.send("DOM.getDocument");
  const spoken = async (selector) => {
    const { nodeIds } = await client.send("DOM.querySelectorAll", { nodeId: root.nodeId, selector });
    const trees = await Promise.all(nodeIds.map((nodeId) => client.send("Accessibility.getPartialAXTree", { nodeId, fetchRelatives: false })));
    return trees.map(({ nodes: [{ name, description, properties }] }) => ({
      name: name.value,
      description: description?.value ?? "",
      keys: properties.find((each) => each.name === "keyshortcuts")?.value.value ?? "",
    }));
  };
  const [card] = await spoken(".loom-strip-card");
  assert.match(card.name, /^@Image 1 the garment 900 × 1600 · time -10/);
  assert.equal(card.name.match(/@Image|garment/g).length, 2);
  assert.match(card.description, /^Alt and an arrow key move it/);
  assert.equal(card.keys, "", "the description names the keys");
  const [earlier] = await spoken(".loom-strip-move");
  assert.deepEqual(earlier, { name: "Earlier: @Image 1", description: "", keys: "" });
  await page.context().close();
});

test("times, titles and links go along; a prompt from elsewhere is left, and said so", async () => {
  const page = await stage({
    change: {
      5: { inputs: { temporal_indices: "-5, -7, -11" } },
      9: { class_type: "PrimitiveStringMultiline", inputs: { value: PROMPT } },
      8: { class_type: ENCODE, inputs: { references: ["5", 0], prompt: ["9", 0], negative_prompt: "" } },
    },
  });
  await edit(page, `slots.getInputNode(1).title = "@Image 1"; slots.getInputNode(3).title = "Jacket of @Image 3";`);
  await page.waitForFunction(() => document.querySelector(".loom-strip")?.textContent.includes("Jacket")); // it is drawn anew
  await drag(page, 0, 2);
  await page.keyboard.press("Escape");
  await page.mouse.up();
  assert.deepEqual(await queued(page), ["tall", "small", "cutout"], "Escape puts it back");
  await drag(page, 0, 2);
  await page.mouse.up();
  await page.waitForTimeout(300);
  assert.deepEqual(await queued(page), ["small", "cutout", "tall"]);
  assert.equal(await value(page, SLOTS, "temporal_indices"), "-7, -11, -5");
  assert.deepEqual(await names(page), ["small", "Jacket of @Image 2", "tall"]);
  assert.match((await strip(page).locator(".loom-strip-facts").allTextContents()).join(), /time -7,.*time -11,.*time -5$/);
  assert.match(await said(page).textContent(), /Not changed: the prompt of .*Change its numbers yourself/);
  const texts = await page.evaluate(() =>
    window.app.graph.nodes
      .filter((node) => ["5", "6", "9"].includes(String(node.id)))
      .map((node) => [String(node.id), node.widgets.find((each) => ["prompt", "value"].includes(each.name))?.value]),
  );
  assert.deepEqual(Object.fromEntries(texts), { 5: undefined, 6: "Put @Image 3 beside @image1 on @Image 2.", 9: PROMPT });
  await press(page, "z");
  assert.equal(await value(page, SLOTS, "temporal_indices"), "-5, -7, -11");
  assert.equal(await prompt(page), PROMPT);
  await page.context().close();
});

test("what cannot be known is not said, and what is wrong is", async () => {
  const page = await stage();
  const facts = () => cards(page).nth(0).locator(".loom-strip-notice").allTextContents();
  await edit(page, `slots.widgets.find((each) => each.name === "fit").value = "contain";`);
  await page.waitForFunction(() => !document.querySelector(".loom-strip-card").querySelector(".loom-strip-notice"));
  await edit(page, `slots.widgets.find((each) => each.name === "fit").value = "cover"; slots.widgets.find((each) => each.name === "temporal_indices").value = "-5";`);
  await strip(page).locator(".loom-strip-notices").getByText("temporal_indices does not fit").waitFor();
  assert.equal(await strip(page).locator(".loom-strip-facts").first().textContent(), "900 × 1600");
  assert.deepEqual(await facts(), ["68 % is cut off, top and bottom."]);
  await edit(page, `const size = LiteGraph.createNode("LoomVideoSizeHelper"); graph.add(size); size.connect(0, slots, slots.findInputSlot("width"));`);
  await page.waitForFunction(() => !document.querySelector(".loom-strip-card").querySelector(".loom-strip-notice"));
  await edit(page, `slots.disconnectInput(slots.findInputSlot("width")); slots.disconnectInput(1);`);
  await is(page, ["small", "cutout"], PROMPT);
  await edit(page, `for (const slot of [2, 1]) slots.disconnectInput(slot);`);
  await strip(page).getByText("Connect a picture to image_1").waitFor();
  assert.deepEqual(await violations(page), []);
  await page.context().close();
});

test("saved and opened again", async () => {
  const page = await stage();
  await drag(page, 2, 0);
  await page.mouse.up();
  const text = "Put @Image 2 beside @image3 on @Image 1.";
  await is(page, ["cutout", "tall", "small"], text);
  await page.keyboard.press("Control+s");
  await page.locator("[role=dialog] input").waitFor();
  await page.locator("[role=dialog] input").press("Enter");
  const saved = `${SERVER}/userdata/${encodeURIComponent("workflows/strip.json")}`;
  let file = "";
  for (let tries = 0; tries < 40 && !file; tries++) {
    await page.waitForTimeout(250);
    const answer = await fetch(saved);
    if (answer.ok) file = await answer.text();
  }
  await fetch(saved, { method: "DELETE" });
  assert.match(file, /strip_cutout/);
  assert.doesNotMatch(file, /reference strip|loom-panel|loom_counts/);
  await page.context().close();
  const again = await open({});
  await again.evaluate((saved) => window.app.loadGraphData(JSON.parse(saved)), file);
  await is(again, ["cutout", "tall", "small"], text);
  assert.deepEqual(await numbers(again), ["@Image 1", "@Image 2", "@Image 3"]);
  await again.context().close();
});

for (const [renderer, zoom] of RENDERERS.flatMap((each) => [[each, 1.25], [each, 2]]))
  test(`light, at ${100 * zoom} %, in Chinese, ${renderer}`, async () => {
    const page = await stage({ renderer, theme: "light", zoom, language: "zh" });
    assert.match(await cards(page).nth(0).textContent(), /上下两侧会裁掉 68 %/);
    assert.deepEqual(await violations(page), []);
    await page.evaluate(() => { const { ds } = window.app.canvas; ds.scale = 0.75; ds.offset[1] += 40; window.app.canvas.setDirty(true, true); });
    await page.waitForTimeout(400);
    await picture(page, `strip_light_${renderer}`);
    await drag(page, 0, 1);
    await page.mouse.up();
    await is(page, ["small", "tall", "cutout"], "Put @Image 2 beside @image1 on @Image 3.");
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

test("a bundled workflow keeps its layout", async () => {
  const page = await open({ template: "reference_edit" });
  await page.waitForFunction(() => window.app.graph.nodes.some((node) => node.comfyClass === "LoomVideoReferenceSlots"));
  await strip(page).locator("img").first().waitFor({ state: "attached" });
  const size = await page.evaluate(() => [...window.app.graph.nodes.find((node) => node.comfyClass === "LoomVideoReferenceSlots").size]);
  assert.deepEqual(size, [400, 496]);
  await page.context().close();
});

test("a run's picture of what a subgraph gives is shown until something in it changes", async () => {
  const page = await stage();
  // linked last: older frontends lose the links of such slots when their nodes come into a subgraph
  await edit(
    page,
    `const loader = LiteGraph.createNode("LoadImage");
    graph.add(loader);
    loader.widgets[0].value = given;
    const { subgraph, node } = graph.convertToSubgraph(new Set([loader]));
    subgraph.addOutput("image", "IMAGE").connect(subgraph.nodes[0].outputs[0], subgraph.nodes[0]);
    node.connect(0, slots, 1);`,
    "strip_tall.png",
  );
  await strip(page).getByText("No picture before it has run").waitFor();
  assert.equal(await run(page), "success");
  const picturesOf = () => cards(page).nth(0).locator("img");
  await picturesOf().waitFor();
  const load = (name) => edit(page, `graph.nodes.find((node) => node.subgraph).subgraph.nodes[0].widgets[0].value = given;`, name);
  await load("strip_small.png");
  await picturesOf().waitFor({ state: "detached" });
  await load("strip_tall.png");
  await picturesOf().waitFor();
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

for (const renderer of RENDERERS) {
  test(`a card with three warnings is seen whole, ${renderer}`, async () => {
    const page = await stage({ renderer });
    await edit(page, `[3, 2].forEach((at) => slots.disconnectInput(slots.findInputSlot("images.image_" + at)));`);
    await page.waitForFunction(() => document.querySelectorAll(".loom-strip-card").length === 1);
    await edit(page, `slots.setSize([400, slots.computeSize()[1]]);`);
    await page.evaluate(async () => {
      const form = new FormData();
      const canvas = Object.assign(document.createElement("canvas"), { width: 96, height: 64 });
      form.append("image", await new Promise((done) => canvas.toBlob(done, "image/png")), "strip_clear.png");
      form.append("overwrite", "true");
      await fetch("/upload/image", { method: "POST", body: form });
    });
    await edit(page, `slots.getInputNode(slots.findInputSlot("images.image_1")).widgets[0].value = "strip_clear.png";`);
    await cards(page).locator(".loom-strip-notice").nth(2).waitFor();
    const left = () => strip(page).locator(".loom-strip-list").evaluate((list) => list.scrollHeight - list.clientHeight);
    await page.waitForFunction(() => { const list = document.querySelector(".loom-strip-list"); return list.scrollHeight <= list.clientHeight; }, null, { timeout: 5000 }).catch(() => {});
    await picture(page, `strip_three_${renderer}`);
    assert.equal(await left(), 0);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`a file that is gone is told so, ${renderer}`, async () => {
    const page = await stage({ renderer });
    await edit(page, `slots.getInputNode(slots.findInputSlot("images.image_1")).widgets[0].value = "strip_gone.png";`);
    await cards(page).nth(0).getByText("not in ComfyUI's input folder").waitFor();
    assert.deepEqual(await cards(page).nth(0).locator(".loom-strip-notice").allTextContents(), ["This file is not in ComfyUI's input folder: upload it again or choose another."]);
    assert.deepEqual(await numbers(page), ["@Image 1", "@Image 2", "@Image 3"]);
    await picture(page, `strip_gone_${renderer}`);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
}

test("in a subgraph, what is outside is not known, and said to be left", async () => {
  const page = await stage();
  await edit(page, `slots.disconnectInput(3);`); // ComfyUI itself confuses slots beyond the first two here
  await edit(page, `window.app.canvas.setGraph(graph.convertToSubgraph(new Set([slots])).subgraph);`);
  await strip(page).getByText("No picture here: it depends on what is outside").first().waitFor();
  const told = () => strip(page).locator(".loom-strip-notice").allTextContents();
  const before = await told();
  assert.deepEqual(before.map((text) => text.split(":")[0]), ["No picture here", "May hold several pictures", "No picture here", "May hold several pictures"]);
  assert.equal(await run(page), "success");
  await page.waitForTimeout(1500);
  assert.deepEqual(await told(), before, "a run tells nothing that may change unseen");
  await picture(page, "strip_inside");
  await cards(page).nth(0).focus();
  await page.keyboard.press("Alt+ArrowDown");
  await said(page).getByText(/^Not moved: .* not known inside this subgraph/).waitFor();
  await page.evaluate(() => {
    const slots = window.app.canvas.graph.nodes.find((node) => node.comfyClass === "LoomVideoReferenceSlots");
    slots.widgets.find((widget) => widget.name === "batch").value = "one reference of many frames";
    window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
  });
  await strip(page).getByText("May hold several pictures").first().waitFor({ state: "detached" });
  page.errors.length = 0; // of ComfyUI, which looks for the slots of a node that is gone
  const origins = () =>
    page.evaluate(() => {
      const slots = window.app.canvas.graph.nodes.find((node) => node.comfyClass === "LoomVideoReferenceSlots");
      return slots.inputs.flatMap(({ name }, at) => (name.startsWith("images.") ? [slots.getInputLink(at)?.origin_slot] : [])).slice(0, 2);
    });
  assert.deepEqual(await origins(), [1, 2]);
  await cards(page).nth(0).focus();
  await page.keyboard.press("Alt+ArrowDown");
  await said(page).getByText("Not changed: the prompt of nodes outside of this subgraph.").waitFor();
  assert.deepEqual(await origins(), [2, 1]);
  assert.deepEqual(page.errors, []);
  await page.context().close();
});
