// Source and result over each other: always the same moment of both, by mouse and by keys, in either renderer.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { RENDERERS, SERVER, open, panel, picture, press, run, show, violations } from "./page.mjs";

const RESTORE = "LoomVideoRestoreVideo";
const START = 6; // frames into the clip at which the edit begins
const LATER = 10; // in a later run
const NUMBERED = "numbered.mp4"; // see media/numbered.py

/** Puts the clip whose frames tell their numbers where Load Video looks. */
async function upload() {
  const form = new FormData();
  form.set("image", new Blob([readFileSync(new URL(`media/${NUMBERED}`, import.meta.url))]), NUMBERED);
  form.set("overwrite", "true");
  assert.equal((await fetch(`${SERVER}/upload/image`, { method: "POST", body: form })).status, 200);
}

/** A video edit without a model: the frames that it would get are given back as the edit. @param {any} page @param {object} values */
async function shortcut(page, values = {}) {
  await upload();
  await page.evaluate(
    ([file, start, more]) => {
      const of = (kind) => window.app.graph.nodes.find((node) => node.comfyClass === kind);
      const set = (kind, name, value) => (of(kind).widgets.find((widget) => widget.name === name).value = value);
      set("LoadVideo", "file", file);
      set("LoomVideoSourceLatentScaler", "start_seconds", start / 24);
      for (const [kind, name, value] of more) set(kind, name, value);
      const from = of("LoomVideoSourceLatentScaler");
      const slot = from.outputs.findIndex((output) => output.name === "images");
      from.connect(slot, of("LoomVideoRestoreVideo"), 0);
    },
    [NUMBERED, START, values.set ?? []],
  );
  assert.equal(await run(page), "success");
  await panel(page, "wipe").locator("canvas").waitFor({ timeout: 60_000 });
  await show(page, RESTORE, values.scale);
}

/** In the page: the numbers that the halves of a canvas show, and the frames that it says it shows. */
function numbersOf(canvas) {
  const context = canvas.getContext("2d");
  const shape = 160 / 96;
  const wide = Math.min(canvas.width, canvas.height * shape);
  const high = wide / shape;
  const read = (share) => {
    const bands = Array.from({ length: 8 }, (_, band) => {
      const x = (canvas.width - wide) / 2 + share * wide;
      const y = (canvas.height - high) / 2 + ((band + 0.5) / 8) * high;
      return context.getImageData(Math.round(x), Math.round(y), 1, 1).data[0] > 127 ? 1 : 0;
    });
    return bands[0] === 1 && bands[7] === 0 ? parseInt(bands.slice(1, 7).join(""), 2) : -1;
  };
  return { source: read(0.25), result: read(0.75), frame: Number(canvas.dataset.frame) };
}

/** @param {any} page @param {any} [within] */
const shown = (page, within = panel(page, "wipe")) => within.locator("canvas").evaluate(numbersOf);

/** @param {any} page @param {number} frame */
async function standsAt(page, frame, within = panel(page, "wipe"), start = START) {
  await page.waitForFunction(
    ([selector, wanted]) => document.querySelector(selector)?.dataset.frame === String(wanted),
    [(await within.evaluate((element) => (element.matches("dialog") ? "dialog" : "[data-loom-panel=wipe]"))) + " canvas", frame],
    { timeout: 20_000 },
  );
  assert.deepEqual(await shown(page, within), { source: start + frame, result: start + frame, frame });
}

for (const renderer of RENDERERS) {
  test(`both clips stand on the same frame, by keys and by mouse, ${renderer}`, async () => {
    const page = await open({ template: "video_edit", renderer });
    await show(page, RESTORE);
    const wipe = panel(page, "wipe");
    assert.match(await wipe.innerText(), /After a run/);
    const before = await page.evaluate((kind) => [...window.app.graph.nodes.find((node) => node.comfyClass === kind).size], RESTORE);
    await shortcut(page);
    await standsAt(page, 0);
    const divider = wipe.getByRole("slider", { name: "Divider" });
    await divider.focus();
    for (const key of [".", ".", "."]) await page.keyboard.press(key);
    await standsAt(page, 3);
    await page.keyboard.press(",");
    await standsAt(page, 2);
    await wipe.getByRole("button", { name: "One frame on" }).click();
    await standsAt(page, 3);
    await wipe.getByRole("slider", { name: "Frame" }).focus();
    await page.keyboard.press("End");
    await standsAt(page, 52); // 54 frames are left, of which 4k + 1 are edited
    await page.keyboard.press("ArrowLeft");
    await standsAt(page, 51);
    await page.keyboard.press("Home");
    await standsAt(page, 0);
    const after = await page.evaluate((kind) => [...window.app.graph.nodes.find((node) => node.comfyClass === kind).size], RESTORE);
    assert.deepEqual(after, before); // what lies below the node stays where it is
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`while they play, every picture is of one moment, and the end leads to the start, ${renderer}`, async () => {
    const page = await open({ template: "video_edit", renderer });
    await shortcut(page);
    const wipe = panel(page, "wipe");
    await wipe.getByRole("button", { name: "Play" }).click();
    const seen = await page.evaluate(async (source) => {
      const read = new Function(`return ${source}`)();
      const canvas = document.querySelector("[data-loom-panel=wipe] canvas");
      const found = new Map();
      let isBack = false;
      const end = performance.now() + 30_000;
      while (performance.now() < end && !isBack) {
        await new Promise(requestAnimationFrame);
        const one = read(canvas);
        isBack = found.size > 15 && one.frame < 10 && Math.max(...found.keys()) > 45;
        found.set(one.frame, one);
      }
      return { pictures: [...found.values()], isBack };
    }, numbersOf.toString());
    assert.ok(seen.isBack, JSON.stringify(seen));
    for (const one of seen.pictures) assert.deepEqual([one.source, one.result], [START + one.frame, START + one.frame]);
    await wipe.getByRole("button", { name: "Pause" }).click();
    await wipe.getByRole("button", { name: "Play" }).waitFor();
    await page.waitForTimeout(500);
    const stopped = await shown(page);
    await standsAt(page, stopped.frame);
    await wipe.getByRole("button", { name: "Loop" }).click();
    assert.equal(await wipe.getByRole("button", { name: "Loop" }).getAttribute("aria-pressed"), "false");
    await wipe.getByRole("slider", { name: "Divider" }).focus();
    await page.keyboard.press("Space"); // plays
    await wipe.getByRole("button", { name: "Pause" }).waitFor();
    await wipe.getByRole("button", { name: "Play" }).waitFor({ timeout: 30_000 });
    await standsAt(page, 52);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test(`the divider parts source and result, in the node and at full size, ${renderer}`, async () => {
    const page = await open({ template: "image_edit", renderer });
    assert.equal(await run(page), "success");
    await show(page, "LoomVideoSampler");
    const opener = panel(page, "wipe_button").getByRole("button", { name: "Compare" });
    await opener.waitFor({ timeout: 30_000 });
    await picture(page, `wipe-sampler-${renderer}`);
    await opener.focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Source and result" });
    const divider = dialog.getByRole("slider");
    assert.equal(await divider.evaluate((element) => element === document.activeElement), true);
    assert.equal(await dialog.getByRole("button", { name: "Play" }).count(), 0); // a picture has one frame
    const difference = async () => {
      return dialog.locator("canvas").evaluate((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [...data.subarray(0)].reduce((sum, value, at) => (sum * 31 + value + at) % 2147483647, 7);
      });
    };
    await page.keyboard.press("Home");
    assert.equal(await divider.getAttribute("aria-valuenow"), "0");
    const result = await difference();
    await page.keyboard.press("End");
    const source = await difference();
    assert.equal(await divider.getAttribute("aria-valuenow"), "100");
    assert.notEqual(result, source);
    for (const key of ["PageDown", "ArrowLeft", "ArrowRight", "ArrowDown"]) await page.keyboard.press(key);
    assert.equal(await divider.getAttribute("aria-valuenow"), "89");
    const box = await dialog.locator("canvas").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 3);
    await page.mouse.down();
    await page.mouse.move(box.x + 5, box.y + box.height / 2, { steps: 5 });
    await page.mouse.up();
    assert.equal(await divider.getAttribute("aria-valuenow"), "0");
    assert.equal(await difference(), result);
    for (let count = 0; count < 6; count++) {
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement === document.body || !!document.activeElement.closest("dialog")), true);
    }
    assert.deepEqual(await violations(page), []);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    assert.equal(await opener.evaluate((element) => element === document.activeElement), true);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
}

/** Tells how often a result was asked for, to be opened; other panels open sources. @param {any} page @returns {() => number} */
function openings(page) {
  let count = 0;
  page.on("request", (request) => (count += /loomvideo\/media\?.*type=output/.test(request.url()) ? 1 : 0));
  return () => count;
}

test("a run loads nothing for the button; the dialog does, and says what is not there any more", async () => {
  const page = await open({ template: "image_edit" });
  const count = openings(page);
  assert.equal(await run(page), "success");
  await show(page, "LoomVideoSampler");
  const opener = panel(page, "wipe_button").getByRole("button", { name: "Compare" });
  await opener.waitFor({ timeout: 60_000 });
  await page.waitForTimeout(1500);
  assert.equal(count(), 0);
  const dialog = page.getByRole("dialog", { name: "Source and result" });
  for (const opened of [1, 2]) {
    await opener.click();
    await dialog.locator("canvas").waitFor({ timeout: 60_000 });
    assert.equal(count(), opened); // the first was let go of with the dialog
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
  }
  await page.route("**/loomvideo/media?*type=output*", (route) => route.fulfill({ status: 404, json: { error: "gone" } }));
  await opener.click();
  await dialog.getByText(/^image_edit_.*\.png is no longer there\.$/).waitFor({ timeout: 60_000 });
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

for (const renderer of RENDERERS)
  test(`an open dialog keeps its pair when a new run comes, and shows the newer on request, ${renderer}`, async () => {
    const page = await open({ template: "video_edit", renderer });
    const count = openings(page);
    await shortcut(page);
    assert.equal(count(), 1);
    await panel(page, "wipe").getByRole("button", { name: "Full size" }).click();
    const dialog = page.getByRole("dialog", { name: "Source and result" });
    await dialog.locator("canvas").waitFor({ timeout: 60_000 });
    assert.equal(count(), 1); // both show one player
    for (const key of [".", ".", "."]) await page.keyboard.press(key);
    await standsAt(page, 3, dialog);
    // what is chosen for the next run is none of this one's
    await page.evaluate((start) => {
      const scaler = window.app.graph.nodes.find((node) => node.comfyClass === "LoomVideoSourceLatentScaler");
      scaler.widgets.find((widget) => widget.name === "start_seconds").value = start / 24;
    }, LATER);
    assert.equal(await run(page), "success");
    const newer = dialog.getByRole("button", { name: "Show the newer result" });
    await newer.waitFor({ timeout: 60_000 });
    await page.waitForTimeout(1000);
    await standsAt(page, 3, dialog);
    await page.keyboard.press(".");
    await standsAt(page, 4, dialog);
    assert.deepEqual(await violations(page), []);
    await picture(page, `wipe-newer-${renderer}`);
    await newer.click();
    await standsAt(page, 0, dialog, LATER);
    assert.equal(await newer.count(), 0);
    assert.equal(await dialog.getByRole("slider", { name: "Divider" }).evaluate((element) => element === document.activeElement), true);
    await page.keyboard.press(".");
    await standsAt(page, 1, dialog, LATER);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await standsAt(page, 1, panel(page, "wipe"), LATER);
    // another source, for the next run: what is shown stays that of the last
    await page.evaluate(() => {
      const loader = window.app.graph.nodes.find((node) => node.comfyClass === "LoadVideo");
      const file = loader.widgets.find((widget) => widget.name === "file");
      file.value = file.options.values.find((name) => name !== file.value);
      window.app.graph.setDirtyCanvas(true, true);
    });
    const before = count();
    await press(page, "a"); // a change that ComfyUI tells of
    await page.waitForTimeout(1000);
    assert.equal(count(), before);
    await standsAt(page, 1, panel(page, "wipe"), LATER);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

test("another rate is lined up by time", async () => {
  const page = await open({ template: "video_edit" });
  await shortcut(page, { set: [["LoomVideoSourceLatentScaler", "fps", 12], [RESTORE, "rate", "edited"]] });
  await panel(page, "wipe").getByRole("slider", { name: "Divider" }).focus();
  for (let frame = 0; frame < 4; frame++) await page.keyboard.press(".");
  await page.waitForFunction(() => document.querySelector("[data-loom-panel=wipe] canvas").dataset.frame === "4");
  assert.deepEqual(await shown(page), { source: START + 8, result: START + 8, frame: 4 });
  await page.context().close();
});

for (const [theme, zoom] of [["light", 1], ["light", 1.25], ["dark", 2]])
  test(`readable and whole in the ${theme} theme at ${zoom * 100} %`, async () => {
    for (const renderer of RENDERERS) {
      const page = await open({ template: "video_edit", renderer, theme, zoom, language: zoom === 2 ? "zh" : "en" });
      await show(page, RESTORE);
      await picture(page, `wipe-empty-${theme}-${zoom}-${renderer}`);
      assert.deepEqual(await violations(page), []);
      await shortcut(page, { scale: zoom > 1 ? 0.75 : 1 }); // so that the whole node is in the window
      const wipe = panel(page, "wipe");
      const name = zoom === 2 ? "源" : "Source";
      await wipe.getByText(name, { exact: true }).waitFor();
      const outside = await wipe.evaluate((element, kind) => {
        const { pos, size } = window.app.graph.nodes.find((each) => each.comfyClass === kind);
        const { canvas, ds } = window.app.canvas;
        const { left, top } = canvas.getBoundingClientRect();
        const [x, y] = [left + (pos[0] + ds.offset[0]) * ds.scale, top + (pos[1] + ds.offset[1]) * ds.scale];
        const box = new DOMRect(x, y, size[0] * ds.scale, size[1] * ds.scale); // of the node
        return [element, ...element.querySelectorAll("button, input, canvas")]
          .map((each) => [each.className, each.getBoundingClientRect()])
          .filter(([, each]) => each.left < box.left - 1 || each.right > box.right + 1 || each.bottom > box.bottom + 1 || each.width < 8 || each.height < 8)
          .map(([words, each]) => [words, each.toJSON(), box.toJSON()]);
      }, RESTORE);
      assert.deepEqual(outside, []);
      assert.deepEqual(await violations(page), []);
      await picture(page, `wipe-${theme}-${zoom}-${renderer}`);
      await wipe.getByRole("button").last().click();
      const dialog = page.locator("dialog.loom-wipe-dialog");
      await page.waitForFunction(() => document.querySelector("dialog canvas")?.dataset.frame === "0");
      await page.waitForTimeout(500);
      await standsAt(page, 0, dialog);
      assert.deepEqual(await violations(page), []);
      await picture(page, `wipe-dialog-${theme}-${zoom}-${renderer}`);
      await page.keyboard.press(".");
      await standsAt(page, 1, dialog);
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      await page.context().close();
    }
  });
