// What a run became while the page had no connection: it ended, or ComfyUI has no record of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SERVER, comparable, open, panel, show, status } from "./page.mjs";

const SAMPLER = "LoomVideoSampler";
const LIMIT = { timeout: 90_000 };
const get = async (path) => (await fetch(`${SERVER}${path}`)).json();

/** In the page: no message of the server arrives while window.isDeaf is set. */
const deafened = (page) =>
  page.addInitScript(() => {
    const listen = WebSocket.prototype.addEventListener;
    WebSocket.prototype.addEventListener = function (kind, act, ...more) {
      return listen.call(this, kind, kind === "message" ? (event) => window.isDeaf || act.call(this, event) : act, ...more);
    };
  });

async function started() {
  const page = await open({ template: "image_edit", before: deafened });
  await page.waitForFunction((kind) => window.app.graph.nodes.some((node) => node.comfyClass === kind), SAMPLER, LIMIT);
  await show(page, SAMPLER);
  await panel(page, "loom_run").waitFor(LIMIT);
  await page.evaluate(async (kind) => {
    const sampler = window.app.graph.nodes.find((node) => node.comfyClass === kind);
    for (const [name, value] of [["seed", Math.floor(Math.random() * 1e12)], ["steps", 12]]) sampler.widgets.find((each) => each.name === name).value = value;
    await window.app.queuePrompt(0, 1);
  }, SAMPLER);
  await status(page, "running");
  await page.evaluate(() => (window.isDeaf = true));
  const end = Date.now() + LIMIT.timeout;
  while (!Object.values(await get("/queue")).every((prompts) => !prompts.length)) {
    assert.ok(Date.now() < end, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  await page.waitForTimeout(500);
  assert.equal(await panel(page, "loom_run").getAttribute("data-status"), "running");
  return page;
}

/** The connection breaks, and ComfyUI's page makes a new one. */
const reconnect = (page) =>
  page.evaluate(async () => {
    const { api } = await import("/scripts/api.js");
    window.isDeaf = false;
    api.socket.close();
  });

test("a run that ended meanwhile is over, and can be compared", async () => {
  const page = await started();
  await reconnect(page);
  await status(page, "done");
  await comparable(page);
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

test("a run that the server knows nothing of any more does not go on for ever", async () => {
  const page = await started();
  await page.route("**/history/*", (route) => route.fulfill({ json: {} })); // as after a start, or when it was cleared
  await reconnect(page);
  await status(page, "failed");
  const what = await panel(page, "loom_run").locator(".loom-run-what").textContent();
  assert.match(what, /^Stopped.* – What became of it is not known: ComfyUI has no record of it$/);
  assert.deepEqual(page.errors, []);
  await page.context().close();
});
