// The timeline: pictures of the clip, what is cut out of it, what the MLLM sees, and the strength over the steps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, SERVER, open, panel, picture, press, ready, run, show, value, violations } from "./page.mjs";

const KIND = "LoomVideoSourceLatentScaler";
const trim = async (page) => [await value(page, KIND, "start_seconds"), await value(page, KIND, "max_frames")];
const curveOf = (page) => value(page, KIND, "strength_curve");
const line = (page) => panel(page, "loom_timeline").locator(".loom-timeline-line");
const slider = (page, name) => panel(page, "loom_timeline").getByRole("slider", { name });
const says = (page, pattern) => line(page).filter({ hasText: pattern }).waitFor({ timeout: 60_000 });
const set = (page, kind, name, wanted) =>
  page.evaluate(
    ([found, key, to]) => {
      const node = window.app.graph.nodes.find((each) => each.comfyClass === found);
      const widget = node.widgets.find((each) => each.name === key);
      widget.value = to;
      widget.callback?.(to, window.app.canvas, node);
      node.onWidgetChanged?.(key, to, undefined, widget);
      window.app.extensionManager.workflow.activeWorkflow.changeTracker.checkState?.();
    },
    [kind, name, wanted],
  );

/** Opens a template at its timeline, once what is connected is known. */
async function timeline(options = {}, pattern = /frames at|picture/) {
  const page = await open({ template: "video_edit", ...options });
  await page.waitForFunction((kind) => window.app.graph.nodes.some((node) => node.comfyClass === kind), KIND, { timeout: 60_000 });
  await show(page, KIND);
  await says(page, pattern);
  return page;
}

/** Presses at the middle of an element and lets go a way from there. */
async function drag(page, locator, dx, dy = 0) {
  const box = await locator.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x + dx / 2, y + dy / 2, { steps: 4 });
  await page.mouse.move(x + dx, y + dy, { steps: 4 });
  await page.mouse.up();
  await page.waitForTimeout(300);
}

/** Mean colour of each picture of the filmstrip, and how far its pixels differ. */
const pictures = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll(".loom-timeline-film canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return { print: data.join().length + ":" + data.reduce((sum, each, at) => (sum + each * (at % 977)) % 1e9, 0), spread: new Set(data).size };
    }),
  );

/** Until the last picture of the filmstrip is there. */
const filmed = (page) =>
  page.waitForFunction(() => {
    const last = [...document.querySelectorAll(".loom-timeline-film canvas")].at(-1);
    return last?.getContext("2d").getImageData(0, 0, 1, 1).data[3] === 255;
  }, null, { timeout: 60_000 });

for (const renderer of RENDERERS)
  test(`a file that is gone is told so until another is chosen, ${renderer}`, async () => {
    const page = await timeline({ renderer });
    const clip = await value(page, "LoadVideo", "file");
    await set(page, "LoadVideo", "file", "gone.mp4");
    await says(page, /^This file is not in ComfyUI's input folder: upload it again or choose another\.$/);
    await set(page, "LoadVideo", "file", clip);
    await says(page, /frames at/);
    await panel(page, "loom_timeline").locator("canvas").first().waitFor({ timeout: 60_000 });
    await page.context().close();
  });

for (const renderer of RENDERERS) {
  test(`pictures, frames in and out, and the handles, ${renderer}`, async () => {
    const page = await timeline({ renderer });
    assert.equal(await line(page).textContent(), "33 frames at 24 → 33 frames at 24 (4k + 1)");
    assert.equal(await panel(page, "loom_timeline").locator(".loom-timeline-detail").innerText(), "0.00 – 1.38 s of 1.38 s\nQwen3-VL sees 2");
    await filmed(page);
    const film = await pictures(page);
    assert.equal(film.length, 8);
    for (const { spread } of film) assert.ok(spread > 8, `${spread} values`);
    assert.ok(new Set(film.map(({ print }) => print)).size > 4, "the pictures are of one moment");
    assert.deepEqual(await violations(page), []);
    await picture(page, `timeline-${renderer}`);

    const width = (await panel(page, "loom_timeline").locator(".loom-timeline-trimmer").boundingBox()).width;
    await drag(page, slider(page, "End of the edit"), -width / 2);
    const [start, frames] = await trim(page);
    assert.equal(start, 0);
    assert.ok(frames < 33 && frames > 5 && frames % 4 === 1, `${frames}`);
    assert.match(await line(page).textContent(), new RegExp(`^${frames} of 33 frames at 24 → ${frames} frames at 24`));
    await picture(page, `undo-before-${renderer}`);
    await press(page, "z");
    assert.deepEqual(await trim(page), [0, 121]); // one step for the drag
    await says(page, "33 frames at 24 → 33");
    await filmed(page);
    await picture(page, `undo-after-${renderer}`);
    await press(page, "y");
    assert.deepEqual(await trim(page), [0, frames]);

    await drag(page, panel(page, "loom_timeline").locator(".loom-timeline-part"), width / 4);
    const [moved, same] = await trim(page);
    assert.ok(moved > 0.2 && moved < 0.5, `${moved}`);
    assert.equal(same, frames);
    await drag(page, slider(page, "Start of the edit"), -width);
    const [first, more] = await trim(page);
    assert.equal(first, 0);
    assert.ok(more > frames && more % 4 === 1, `${more}`);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`the handles by keys, ${renderer}`, async () => {
    const page = await timeline({ renderer });
    const [start, end] = [slider(page, "Start of the edit"), slider(page, "End of the edit")];
    await end.focus();
    for (const key of ["ArrowLeft", "ArrowLeft", "PageDown", "ArrowRight"]) await end.press(key);
    assert.deepEqual(await trim(page), [0, 13]);
    assert.equal(await end.getAttribute("aria-valuetext"), "13 frames, to 0.54 s");
    assert.deepEqual(["1", "33", "13"], await Promise.all(["min", "max", "now"].map((each) => end.getAttribute(`aria-value${each}`))));
    await end.press("End");
    await start.focus();
    await start.press("ArrowRight");
    assert.deepEqual(await trim(page), [0.17, 33]); // the clip ends it: nothing to cut there
    assert.match(await line(page).textContent(), /^29 of 33 frames/);
    await start.press("End");
    assert.match(await panel(page, "loom_timeline").textContent(), /edited as a still/);
    await start.press("Home");
    await end.press("Home");
    assert.deepEqual(await trim(page), [0, 1]);
    await end.press("PageUp");
    await start.focus();
    await page.keyboard.press("Shift+ArrowRight");
    assert.deepEqual(await trim(page), [0.17, 17]);
    await press(page, "z");
    assert.deepEqual(await trim(page), [0, 17]);
    await page.context().close();
  });

  test(`the curve is drawn, moved and queued, ${renderer}`, async () => {
    const page = await timeline({ renderer });
    await panel(page, "loom_timeline").getByRole("button", { name: /Strength over the steps/ }).click();
    const points = slider(page, "Point of the curve");
    await points.nth(1).waitFor();
    assert.equal(await page.locator(".loom-timeline-plot rect").count(), 12); // the built-in model's steps
    assert.equal(await curveOf(page), "");
    const plot = await page.locator(".loom-timeline-dots").boundingBox();
    await page.mouse.click(plot.x + plot.width / 2, plot.y + plot.height * 0.75);
    await page.waitForTimeout(300);
    assert.match(await curveOf(page), /^1:1, 0\.8\d*:0\.[45]\d*, 0:1$/); // half way of shift 5 is a noise level of 5/6
    assert.equal(await points.count(), 3);
    await drag(page, points.nth(2), 0, plot.height / 4);
    assert.match(await curveOf(page), /, 0:0\.[45]\d*$/);
    const before = await curveOf(page);
    await points.nth(1).focus();
    await points.nth(1).press("ArrowUp");
    await points.nth(1).press("ArrowRight");
    assert.notEqual(await curveOf(page), before);
    assert.match(await points.nth(1).getAttribute("aria-valuetext"), /^strength 0\.\d+ at noise level 0\.7\d*, step 8$/);
    assert.deepEqual(await violations(page), []);
    await picture(page, `timeline-curve-${renderer}`);
    await set(page, "LoomVideoSampler", "steps", 2);
    await set(page, KIND, "max_frames", 9);
    await page.waitForFunction(() => document.querySelectorAll(".loom-timeline-plot rect").length === 2, null, { timeout: 20_000 });
    assert.equal(await run(page), "success");
    const text = await curveOf(page);
    await points.nth(1).focus();
    await page.keyboard.press("Delete");
    assert.equal(await points.count(), 2);
    await press(page, "z");
    assert.equal(await curveOf(page), text);
    await page.getByRole("button", { name: "As trained: no curve" }).click();
    assert.equal(await curveOf(page), "");
    await page.getByRole("button", { name: "Add a point" }).click();
    assert.equal(await points.count(), 3);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
}

test("what the MLLM sees follows the length and the encode node", async () => {
  const page = await timeline({ template: "long_video_edit" });
  const marks = panel(page, "loom_timeline").locator(".loom-timeline-mark");
  const counted = (count) => page.waitForFunction((wanted) => document.querySelectorAll(".loom-timeline-mark").length === wanted, count, { timeout: 20_000 });
  await says(page, "49 frames at 24 → 49 frames at 24");
  await counted(3); // 49 // 15
  await set(page, KIND, "fps", 60);
  await says(page, "49 frames at 24 → 121 frames at 60");
  await counted(4);
  await set(page, "LoomVideoDeepstackEncode", "mllm_frames", 6);
  await counted(6);
  assert.match(await marks.last().getAttribute("title"), /frame 121 /);
  await page.context().close();
});

test("a reload keeps the part and the curve", async () => {
  const page = await timeline();
  await slider(page, "End of the edit").press("PageDown");
  await slider(page, "Start of the edit").press("ArrowRight");
  await panel(page, "loom_timeline").getByRole("button", { name: /Strength over the steps/ }).click();
  await slider(page, "Point of the curve").last().press("ArrowDown");
  const [before, text] = [await trim(page), await curveOf(page)];
  assert.deepEqual([before, text], [[0.17, 13], "1:1, 0:0.95"]);
  await page.waitForTimeout(1500);
  await page.goto(`${SERVER}/`, { waitUntil: "domcontentloaded" });
  await ready(page, 5);
  await page.waitForFunction((kind) => window.app.graph.nodes.some((node) => node.comfyClass === kind), KIND, { timeout: 60_000 });
  assert.deepEqual([await trim(page), await curveOf(page)], [before, text]);
  await show(page, KIND);
  await says(page, "13 of 33 frames");
  await page.context().close();
});

test("a curve that cannot be read stays as it was typed", async () => {
  const page = await timeline();
  await set(page, KIND, "strength_curve", "1:1, half:0.5");
  await panel(page, "loom_timeline").getByRole("button", { name: /Strength over the steps/ }).click();
  await page.getByText("strength_curve cannot be read").waitFor();
  const plot = await page.locator(".loom-timeline-dots").boundingBox();
  await page.mouse.click(plot.x + plot.width / 2, plot.y + plot.height / 2);
  assert.equal(await slider(page, "Point of the curve").count(), 0);
  assert.equal(await curveOf(page), "1:1, half:0.5");
  await page.context().close();
});

test("a picture, another node's clip, and a server that does not answer", async () => {
  const still = await timeline({ template: "image_edit" });
  assert.match(await line(still).textContent(), /^A picture of 128 x 128, edited as a still/);
  assert.ok(await still.evaluate(() => document.querySelector(".loom-timeline-film img").naturalWidth > 0));
  await still.evaluate((kind) => {
    const { graph } = window.app;
    const made = window.LiteGraph.createNode("CreateVideo");
    graph.add(made);
    made.connect(0, graph.nodes.find((node) => node.comfyClass === kind), "source");
  }, KIND);
  await says(still, "The source comes from Create Video");
  assert.equal(await still.locator(".loom-timeline-film").locator("img, canvas").count(), 0);
  assert.equal(await still.getByRole("slider").count(), 0);
  for (const mode of [2, 4]) {
    await still.evaluate((wanted) => {
      window.app.graph.nodes.find((node) => node.comfyClass === "CreateVideo").mode = wanted;
      window.app.canvas.setDirty(true, true);
      window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
    }, mode);
    await says(still, "What gives the clip is muted or bypassed.");
  }
  await still.evaluate((kind) => {
    const node = window.app.graph.nodes.find((each) => each.comfyClass === kind);
    node.disconnectInput(node.findInputSlot("source"));
  }, KIND);
  await says(still, "Connect a clip or picture to see it here.");
  await still.context().close();
  const lone = await timeline({ before: (page) => page.route("**/loomvideo/media*", (route) => route.abort()) }, "fps unknown");
  assert.match(await line(lone).textContent(), /^fps unknown → 33 frames at 24/);
  await slider(lone, "End of the edit").press("ArrowLeft");
  assert.deepEqual(await trim(lone), [0, 29]);
  await lone.context().close();
});

for (const [name, options] of [["light", { theme: "light" }], ["125", { zoom: 1.25 }], ["200", { zoom: 2 }], ["zh", { language: "zh", renderer: "vue", theme: "light" }]])
  test(`it is readable, ${name}`, async () => {
    const page = await timeline(options, name === "zh" ? "33 帧，24 fps" : "33 frames at 24");
    if (options.zoom) await show(page, KIND, 0.6);
    const outside = () =>
      page.evaluate(() => {
        const box = document.querySelector('[data-loom-panel="loom_timeline"]').getBoundingClientRect();
        return [...document.querySelectorAll(".loom-timeline [class]:not(.loom-timeline-handle, .loom-timeline-dot)")]
          .filter((each) => {
            const { left, right, bottom, width } = each.getBoundingClientRect();
            return width && (left < box.left - 1 || right > box.right + 1 || bottom > box.bottom + 1);
          })
          .map((each) => each.className);
      });
    assert.deepEqual(await outside(), []);
    assert.deepEqual(await violations(page), []);
    await picture(page, `timeline-${name}-clip`);
    await panel(page, "loom_timeline").locator(".loom-timeline-tab").last().click();
    await slider(page, name === "zh" ? "曲线控制点" : "Point of the curve").last().waitFor();
    assert.deepEqual(await outside(), []);
    assert.deepEqual(await violations(page), []);
    await picture(page, `timeline-${name}`);
    await page.context().close();
  });
