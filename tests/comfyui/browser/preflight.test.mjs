// The check before a run: what asks, what only tells, and what never keeps anybody from queueing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open, picture, press, value, violations } from "./page.mjs";

const DIALOG = "dialog.loom-preflight";
const QUEUE = '[data-testid="queue-button"]';
const ROUTE = "**/loomvideo/preflight";

/** A page that counts what reaches the queue and runs nothing of it. */
async function opened(options = {}, { checks = null } = {}) {
  const sent = [];
  const asked = [];
  const page = await open({
    template: "text_to_video",
    ...options,
    settings: { "LoomVideo.Preflight": true, ...options.settings },
    before: async (fresh) => {
      // a machine that runs tests may be slow; only where no answer comes is the patience that of a person
      if (!checks)
        await fresh.addInitScript(() => {
          const timeout = AbortSignal.timeout.bind(AbortSignal);
          AbortSignal.timeout = (milliseconds) => timeout(10 * milliseconds);
        });
      await fresh.route("**/api/prompt", async (route) => {
        if (route.request().method() !== "POST") return route.continue();
        sent.push(route.request().postDataJSON());
        return route.fulfill({ json: { prompt_id: `test-${sent.length}`, number: sent.length, node_errors: {} } });
      });
      await fresh.route(ROUTE, async (route) => {
        asked.push(route.request().postDataJSON());
        return checks ? checks(route) : route.continue();
      });
    },
  });
  return { page, sent, asked, close: () => page.context().close() };
}

/** The length, without the helper that gives a right one. */
const spoil = (page, length = 98) =>
  page.evaluate((frames) => {
    const node = window.app.graph.nodes.find((each) => each.comfyClass === "LoomVideoEmptyLatent");
    node.disconnectInput(node.findInputSlot("length"));
    node.widgets.find((widget) => widget.name === "length").value = frames;
    // a new seed after each run would be a step of undo as well
    for (const each of window.app.graph.nodes) for (const widget of each.widgets ?? []) if (widget.name === "control_after_generate") widget.value = "fixed";
    window.app.extensionManager.workflow.activeWorkflow.changeTracker[
      "captureCanvasState" in window.app.extensionManager.workflow.activeWorkflow.changeTracker ? "captureCanvasState" : "checkState"
    ]();
  }, length);

const until = async (condition, what) => {
  for (let waited = 0; waited < 100; waited++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.fail(`waited for ${what}`);
};
const lengthSent = (prompt) => Object.values(prompt.prompt).find((node) => node.class_type === "LoomVideoEmptyLatent").inputs.length;
const marks = (page) => page.evaluate(() => window.app.graph.nodes.filter((node) => "loom-preflight" in node.strokeStyles).map((node) => node.comfyClass));
const focusIsInside = (page) => page.evaluate((dialog) => !!document.activeElement?.closest(dialog), DIALOG);

for (const renderer of RENDERERS)
  test(`98 frames ask first, a button makes them right, and the run goes on, ${renderer}`, async () => {
    const { page, sent, close } = await opened({ renderer });
    await spoil(page);
    await page.click(QUEUE);
    const dialog = page.locator(DIALOG);
    await dialog.waitFor();
    assert.match(await dialog.locator('[data-level="error"]').innerText(), /98 frames.*use 97 or 101/s);
    assert.deepEqual(await marks(page), ["LoomVideoEmptyLatent"]);
    const outlined = await page.evaluate(() => [...document.querySelectorAll(".lg-node[data-node-id]")].filter((node) => getComputedStyle(node).outlineStyle === "solid" && getComputedStyle(node).outlineOffset === "4px").length);
    assert.equal(outlined, renderer === "vue" ? 1 : 0);
    assert.deepEqual(await violations(page, ".loom-dialog"), []);
    await picture(page, `preflight_${renderer}`);
    await dialog.getByRole("button", { name: "Set length = 97" }).click();
    await until(async () => (await dialog.locator('[data-level="error"]').count()) === 0, "the second check");
    assert.equal(await value(page, "LoomVideoEmptyLatent", "length"), 97);
    await dialog.getByRole("button", { name: "Run", exact: true }).click();
    await until(() => sent.length, "the prompt");
    assert.deepEqual([sent.length, lengthSent(sent[0])], [1, 97]);
    assert.equal(await dialog.count(), 0);
    assert.deepEqual(await marks(page), []);
    await press(page, "z");
    assert.equal(await value(page, "LoomVideoEmptyLatent", "length"), 98);
    assert.deepEqual(page.errors, []);
    await close();
  });

test("a mention without its reference leads to the node, with the keyboard alone", async () => {
  const { page, sent, close } = await opened({ template: "reference_edit" });
  await page.evaluate(() => {
    const node = window.app.graph.nodes.find((each) => each.comfyClass === "LoomVideoDeepstackEncode");
    node.widgets.find((widget) => widget.name === "prompt").value = "Use @Image 2.";
  });
  await page.evaluate(() => window.app.canvas.canvas.focus());
  await page.keyboard.press("Control+Enter");
  const dialog = page.locator(DIALOG);
  await dialog.waitFor();
  assert.match(await dialog.locator('[data-level="error"]').innerText(), /@Image 2/);
  for (const key of ["Tab", "Shift+Tab"])
    for (let presses = 0; presses < 8; presses++) {
      assert.ok(await focusIsInside(page), `${key} left the dialog`);
      await page.keyboard.press(key);
    }
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.equal(sent.length, 0);
  await page.keyboard.press("Control+Enter");
  await dialog.waitFor();
  const show = dialog.locator('[data-level="error"]').getByRole("button", { name: "Show the node" });
  for (let presses = 0; presses < 8 && !(await show.evaluate((button) => button === document.activeElement)); presses++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await until(
    () => page.evaluate(() => Object.values(window.app.canvas.selected_nodes).map((node) => node.comfyClass).join() === "LoomVideoDeepstackEncode"),
    "the node's selection",
  );
  await until(
    () =>
      page.evaluate(() => {
        const node = window.app.graph.nodes.find((each) => each.comfyClass === "LoomVideoDeepstackEncode");
        const { ds, canvas } = window.app.canvas;
        const box = canvas.getBoundingClientRect();
        const x = (node.pos[0] + node.size[0] / 2 + ds.offset[0]) * ds.scale;
        const y = (node.pos[1] + node.size[1] / 2 + ds.offset[1]) * ds.scale;
        return Math.abs(x - box.width / 2) < box.width / 4 && Math.abs(y - box.height / 2) < box.height / 4;
      }),
    "the node in the middle",
  );
  assert.equal(sent.length, 0);
  assert.deepEqual(page.errors, []);
  await close();
});

test("a batch asks once, and runs anyway", async () => {
  const { page, sent, asked, close } = await opened();
  await spoil(page);
  const batch = page.locator(".batch-count input");
  await batch.fill("3");
  await batch.press("Enter");
  await page.click(QUEUE);
  await page.locator(DIALOG).getByRole("button", { name: "Run anyway" }).click();
  await until(() => sent.length === 3, "three prompts");
  assert.equal(asked.length, 1);
  assert.equal(lengthSent(sent[2]), 98);
  assert.equal(await page.locator(DIALOG).count(), 0);
  await close();
});

test("warnings alone are told once and hold nothing up", async () => {
  const warning = { check: "memory", level: "warning", sentence: "found little memory", command: "", node: "5", input: null, action: null };
  const answer = { version: 1, errors: 0, warnings: 1, findings: [warning] };
  const { page, sent, close } = await opened({}, { checks: (route) => route.fulfill({ json: answer }) });
  await page.click(QUEUE);
  await until(() => sent.length === 1, "the prompt");
  const toast = page.locator(".loom-toast, [data-testid=toast]").filter({ hasText: "LoomVideo" });
  await toast.waitFor();
  assert.match(await toast.innerText(), /found little memory/);
  await picture(page, "preflight_toast");
  await toast.getByRole("button", { name: "Details" }).click();
  assert.match(await page.locator(DIALOG).innerText(), /found little memory/i);
  await page.keyboard.press("Escape");
  await until(async () => (await toast.count()) === 0, "the toast's end");
  await page.click(QUEUE);
  await until(() => sent.length === 2, "the second prompt");
  await page.waitForTimeout(500);
  assert.equal(await toast.count(), 0);
  await close();
});

const silent = {
  "is not there": (route) => route.fulfill({ status: 404, body: "404: Not Found" }),
  "fails": (route) => route.fulfill({ status: 500, json: { error: "ValueError: the log has the details" } }),
  "is cut off": (route) => route.abort(),
  "takes too long": () => {},
  "says something else": (route) => route.fulfill({ json: { version: 2, findings: "?" } }),
};
for (const [name, checks] of Object.entries(silent))
  test(`a check that ${name} holds nothing up`, async () => {
    const { page, sent, asked, close } = await opened({}, { checks });
    await spoil(page);
    await page.click(QUEUE);
    await until(() => sent.length === 1, "the prompt");
    assert.equal(asked.length, 1);
    assert.equal(await page.locator(DIALOG).count(), 0);
    assert.deepEqual(page.errors, []);
    await close();
  });

test("other graphs are not checked, nor is anything where it is turned off", async () => {
  const { page, sent, asked, close } = await opened({ settings: { "LoomVideo.Preflight": false } });
  await spoil(page);
  await page.click(QUEUE);
  await until(() => sent.length === 1, "the prompt");
  await page.evaluate(() => window.app.extensionManager.setting.set("LoomVideo.Preflight", true));
  await page.evaluate(async () => {
    for (const node of [...window.app.graph.nodes]) if (node.comfyClass?.startsWith("LoomVideo")) window.app.graph.remove(node);
  });
  await page.click(QUEUE);
  await until(() => sent.length === 2, "the other prompt");
  await page.locator(".loom-check-graph").waitFor({ state: "hidden" });
  assert.equal(asked.length, 0);
  await close();
});

test("a gate that breaks gives the queue back", async () => {
  const { page, sent, asked, close } = await opened();
  await page.evaluate(() => {
    const make = window.app.graphToPrompt;
    window.app.graphToPrompt = async () => {
      window.app.graphToPrompt = make;
      throw new Error("another pack's fault");
    };
  });
  await page.click(QUEUE);
  await until(() => sent.length === 1, "the prompt");
  assert.ok(await page.evaluate(() => !Object.hasOwn(window.app, "queuePrompt")));
  await spoil(page);
  await page.click(QUEUE);
  await until(() => sent.length === 2, "the next prompt");
  assert.equal(asked.length, 0);
  await close();
});

test("the command shows everything, in the menu, and copies a report", async () => {
  const { page, sent, close } = await opened();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await spoil(page);
  await page.click(".loom-check-graph");
  const dialog = page.locator(DIALOG);
  await dialog.waitFor();
  assert.ok((await dialog.locator('[data-level="note"]').count()) > 5);
  assert.equal(await dialog.getByRole("button", { name: "Run anyway" }).count(), 0);
  await dialog.getByRole("button", { name: "Copy report" }).click();
  await until(async () => /Copied/.test(await dialog.innerText()), "the copy");
  const report = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(report, /^```\nLoomVideo \d.*error {4}frames: found 98 frames/s);
  assert.deepEqual(await violations(page, ".loom-dialog"), []);
  await picture(page, "preflight_all");
  await dialog.getByRole("button", { name: "Close" }).click();
  const label = await page.evaluate(() => window.app.extensionManager.command.commands.find((each) => each.id === "LoomVideo.CheckGraph").label);
  assert.equal(label, "LoomVideo: check this graph");
  assert.equal(sent.length, 0);
  await close();
});

for (const zoom of [1.25, 2]) test(`light, in Chinese, at ${100 * zoom} %`, async () => {
  const { page, close } = await opened({ theme: "light", language: "zh", zoom });
  await spoil(page);
  await page.evaluate(() => void window.app.extensionManager.command.execute("LoomVideo.CheckGraph"));
  const dialog = page.locator(DIALOG);
  await dialog.waitFor();
  assert.match(await dialog.innerText(), /错误：1/);
  const said = await dialog.locator(".loom-finding > p").allInnerTexts();
  assert.ok(said.includes("发现98 帧；应为4k + 1 形式的帧数（1、5、9 … 121）；解决办法：使用 97 或 101"), said.join("\n"));
  assert.deepEqual(said.filter((sentence) => !/^发现/.test(sentence)), [], "every finding is told in Chinese");
  await dialog.getByRole("button", { name: "复制报告" }).waitFor();
  const box = await dialog.boundingBox();
  const { width, height } = page.viewportSize();
  assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.width <= width && box.y + box.height <= height, JSON.stringify(box));
  const last = await dialog.locator("footer").boundingBox();
  assert.ok(last.y + last.height <= box.y + box.height, "the buttons are cut off");
  assert.deepEqual(await violations(page, ".loom-dialog"), []);
  await picture(page, "preflight_light_zh");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await close();
  await (await open({ settings: { "Comfy.Locale": "en" } })).context().close();
});

test("the settings have Chinese names", async () => {
  const page = await open({ language: "zh" });
  await page.evaluate(() => void window.app.extensionManager.command.execute("Comfy.ShowSettingsDialog"));
  await page.getByRole("dialog").getByText("LoomVideo", { exact: true }).first().click();
  for (const name of ["运行前检查", "节点上的面板（更改后请刷新页面）"]) await page.getByText(name).first().waitFor();
  await picture(page, "preflight_settings_zh");
  await page.context().close();
  await (await open({ settings: { "Comfy.Locale": "en" } })).context().close();
});
