// The panel of a run on the sampler: what it shows while a real server works, and after it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, SERVER, open, panel, picture, ready, run, show, status, violations } from "./page.mjs";

const SAMPLER = "LoomVideoSampler";
const PHASES = ["load", "encode", "denoise", "decode"];
/** Of the bundled source, 128 x 128: one token for 32 x 32 pixels and, behind the first frame, four frames. */
const tokensOf = (frames) => (128 / 32) ** 2 * ((frames - 1) / 4 + 1);
const LIMIT = { timeout: 90_000 };
/** A number that no prompt before had, so that what it is given to is not in the server's cache. */
const seed = () => Math.floor(Math.random() * 1e12);

const post = (path, body = {}) =>
  fetch(`${SERVER}${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const get = async (path) => (await fetch(`${SERVER}${path}`)).json();

async function until(holds) {
  const end = Date.now() + LIMIT.timeout;
  while (!(await holds())) {
    assert.ok(Date.now() < end, "waited too long");
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

/**
 * Has the page take one message of the server a frame, so that what each brings is drawn, however short the run and busy the page.
 *
 * @param {any} page
 */
const paced = (page) =>
  page.addInitScript(() => {
    const waiting = [];
    const next = () => {
      try {
        waiting[0]();
      } finally {
        waiting.shift();
        if (waiting.length) requestAnimationFrame(next);
      }
    };
    const listen = WebSocket.prototype.addEventListener;
    WebSocket.prototype.addEventListener = function (kind, act, ...more) {
      const later = (event) => waiting.push(() => act.call(this, event)) === 1 && requestAnimationFrame(next);
      return listen.call(this, kind, kind === "message" ? later : act, ...more);
    };
  });

/** Opens a workflow with its sampler in view. */
async function opened(template, options = {}) {
  const page = await open({ template, ...options });
  await page.waitForFunction((kind) => window.app.graph.nodes.some((node) => node.comfyClass === kind), SAMPLER, LIMIT);
  await show(page, SAMPLER);
  await panel(page, "loom_run").waitFor(LIMIT);
  return page;
}

/** Sets widgets of nodes: {class: {widget: value}}. */
function given(page, values) {
  return page.evaluate((wanted) => {
    for (const [kind, widgets] of Object.entries(wanted))
      for (const node of window.app.graph.nodes.filter((each) => each.comfyClass === kind))
        for (const [name, value] of Object.entries(widgets)) node.widgets.find((each) => each.name === name).value = value;
  }, values);
}

/** Keeps every state that the panel of the first sampler shows from now on, in window.states. */
function watch(page) {
  return page.evaluate(() => {
    const element = document.querySelector('[data-loom-panel="loom_run"]');
    const text = (name) => element.querySelector(name).textContent;
    const bar = element.querySelector('[role="progressbar"]');
    const now = () => ({
      status: element.dataset.status,
      current: [...element.querySelectorAll("[aria-current='step']")].map((item) => item.dataset.phase),
      what: text(".loom-run-what"),
      time: text(".loom-run-time"),
      bar: [bar.getAttribute("aria-valuenow"), bar.getAttribute("aria-valuemax"), bar.getAttribute("aria-valuetext")],
      tokens: text(".loom-run-tokens"),
      memory: text(".loom-run-numbers"),
      lit: [...element.querySelectorAll("[data-state='runs']")].map((mark) => mark.dataset.branch),
    });
    window.states = [now()];
    new MutationObserver(() => {
      const state = now();
      if (JSON.stringify(state) !== JSON.stringify(window.states.at(-1))) window.states.push(state);
    }).observe(element, { subtree: true, childList: true, attributes: true, characterData: true });
  });
}

const states = (page) => page.evaluate(() => window.states);
const step = (page, least) =>
  page.waitForFunction(
    (number) => Number(/^Step (\d+)/.exec(document.querySelector(".loom-run-what")?.textContent)?.[1] ?? 0) >= number,
    least,
    LIMIT,
  );
const what = (page) => panel(page, "loom_run").locator(".loom-run-what").textContent();
const marks = (page) =>
  page.evaluate(() => Object.fromEntries([...document.querySelectorAll(".loom-run-phases li")].map((item) => [item.dataset.phase, item.dataset.mark])));
const queue = (page) => page.evaluate(() => window.app.queuePrompt(0, 1).then(() => {}));

for (const renderer of RENDERERS)
  for (const [template, frames] of [["image_edit", 1], ["video_edit", 33]])
    test(`${template} from its start to its end, ${renderer}`, async () => {
      const page = await opened(template, { renderer, before: paced });
      await post("/free", { unload_models: true, free_memory: true });
      await given(page, { [SAMPLER]: { seed: seed(), steps: 9, guidance_every: 2 }, LoomVideoDeepstackEncode: { prompt: `Make the blue square red. ${seed()}` } });
      await watch(page);
      const asked = [];
      page.on("request", (request) => asked.push(new URL(request.url()).pathname));
      const done = run(page);
      await step(page, 3);
      await picture(page, `run_${template}_${renderer}`);
      assert.equal(await done, "success");
      await status(page, "done");
      const seen = await states(page);
      assert.equal(seen[0].status, "idle");
      assert.ok(seen.every((state) => state.current.length <= 1));
      // loading and encoding of the small model may be over before the page knows the prompt; that they are known is asked of the marks
      const order = [...new Set(seen.flatMap((state) => state.current))];
      assert.deepEqual(order.slice(-2), ["denoise", "decode"]);
      assert.ok(order.slice(0, -2).every((phase) => ["load", "encode"].includes(phase)), order.join());

      const denoising = seen.filter((state) => /^Step/.test(state.what));
      const steps = denoising.map((state) => Number(/^Step (\d+) of 9$/.exec(state.what)[1]));
      assert.deepEqual(steps, [...steps].sort((a, b) => a - b));
      assert.deepEqual([...new Set(steps)], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
      assert.equal(Math.max(...seen.filter((state) => state.current[0] === "denoise").map((state) => Number(state.bar[0]))) >= 8, true);
      for (const state of denoising) {
        assert.match(state.time, /^\d+:\d\d left$/);
        assert.deepEqual(state.bar.slice(1), ["9", `${state.what}, ${state.time}`]);
        assert.equal(state.tokens, `${tokensOf(frames)} tokens`);
        const [used, predicted, free] = /^([\d.]+) used, ([\d.]+) predicted of ([\d.]+) GB$/.exec(state.memory).slice(1).map(Number);
        assert.ok(used > 0 && predicted > 0 && free > used, state.memory);
      }
      const lit = new Set(denoising.map((state) => state.lit.join()));
      assert.ok(lit.has("full,visual,unconditional") && lit.has("full"), [...lit].join(" | "));
      assert.deepEqual(await marks(page), Object.fromEntries(PHASES.map((phase) => [phase, "done"])));
      assert.deepEqual(asked.filter((path) => path.endsWith("/queue")), []); // the page knows what it has queued
      assert.match(seen.at(-1).time, /^took /);
      assert.deepEqual(seen.at(-1).lit, []);
      assert.equal(await page.locator("[data-state='ran']").count(), 3);
      assert.deepEqual(await violations(page), []);
      assert.deepEqual(page.errors, []);
      await page.context().close();
    });

test("what is in the cache is kept, and a prompt that does nothing changes nothing", async () => {
  const page = await opened("image_edit");
  await given(page, { [SAMPLER]: { seed: seed(), control_after_generate: "fixed", steps: 3 } });
  assert.equal(await run(page), "success");
  await status(page, "done");
  const before = await what(page);
  assert.equal(await run(page), "success");
  await page.waitForTimeout(500);
  assert.equal(await what(page), before);
  assert.equal((await marks(page)).denoise, "done");
  await given(page, { SaveImage: { filename_prefix: `loomvideo/other_${seed()}` } });
  assert.equal(await run(page), "success");
  await page.waitForFunction(() => document.querySelector("[data-phase='denoise']").dataset.mark === "kept", null, LIMIT);
  assert.deepEqual(await marks(page), { load: "kept", encode: "kept", denoise: "kept", decode: "done" });
  await page.context().close();
});

test("an error says its sentence and where it stopped", async () => {
  const page = await opened("image_edit", { theme: "light" });
  await given(page, { LoomVideoDeepstackEncode: { prompt: `Use @Image 3. ${seed()}` } });
  assert.equal(await run(page), "error");
  await status(page, "failed");
  assert.match(await what(page), /^Stopped: Encode – found .*@Image 3/);
  assert.equal((await marks(page)).encode, "stopped");
  await page.keyboard.press("Escape");
  await picture(page, "run_error_light");
  assert.deepEqual(await violations(page), []);
  // another run takes its place
  await given(page, { LoomVideoDeepstackEncode: { prompt: "Make the blue square red." }, [SAMPLER]: { seed: seed(), denoise: 0.5 } });
  await page.keyboard.press("Escape");
  assert.equal(await run(page), "error");
  await page.waitForFunction(() => /Denoise/.test(document.querySelector(".loom-run-what").textContent), null, LIMIT);
  assert.match(await what(page), /^Stopped: Denoise – found denoise 0.5 with an empty latent/);
  await page.context().close();
});

for (const zoom of [1.25, 2]) test(`a cancelled run says so, at ${100 * zoom} %`, async () => {
  const page = await opened("video_edit", { renderer: "vue", zoom });
  await given(page, { [SAMPLER]: { seed: seed(), steps: 500 } });
  await queue(page);
  await step(page, 2);
  await picture(page, "run_zoom_vue");
  await post("/interrupt");
  await status(page, "cancelled");
  assert.match(await what(page), /^Cancelled: Denoise, step \d+ of 500$/);
  assert.equal((await marks(page)).denoise, "stopped");
  assert.deepEqual(await violations(page), []);
  await page.context().close();
});

test("after the page was loaded anew the state comes back", async () => {
  const page = await opened("video_edit");
  await given(page, { [SAMPLER]: { seed: seed(), steps: 700 } });
  await queue(page);
  await step(page, 2);
  await page.reload({ waitUntil: "domcontentloaded" });
  await ready(page, 5);
  await page.waitForFunction((kind) => window.app.graph.nodes.some((node) => node.comfyClass === kind), SAMPLER, LIMIT);
  await step(page, 4);
  assert.match(await what(page), /of 700$/);
  assert.deepEqual(await marks(page), { load: "done", encode: "done", denoise: "current", decode: "todo" });
  await post("/interrupt");
  await status(page, "cancelled");
  await page.context().close();
});

test("two samplers, two prompts and another page's run are kept apart", async () => {
  const page = await opened("image_edit");
  await page.evaluate(() => {
    const { graph } = window.app;
    const [first, decode] = ["LoomVideoSampler", "VAEDecode"].map((kind) => graph.nodes.find((node) => node.comfyClass === kind));
    const [second, decoder, preview] = ["LoomVideoSampler", "VAEDecode", "PreviewImage"].map((kind, index) => {
      const node = window.LiteGraph.createNode(kind);
      node.pos = [2300, 36 + 800 * index];
      graph.add(node);
      return node;
    });
    for (const from of [first, decode])
      from.inputs.forEach((input, slot) => {
        const to = from === first ? second : decoder;
        const source = from.getInputNode(slot);
        const link = from.getInputLink(slot);
        if (source && source !== first) source.connect(link.origin_slot, to, to.findInputSlot(input.name));
      });
    second.connect(0, decoder, decoder.findInputSlot("samples"));
    decoder.connect(0, preview, 0);
  });
  await page.waitForFunction(() => document.querySelectorAll(".loom-run").length === 2, null, LIMIT);
  const foreign = await page.evaluate(async () => (await window.app.graphToPrompt()).output);
  foreign["8"].inputs.seed = seed();
  const answer = await (await post("/prompt", { prompt: foreign, client_id: "another-page" })).json();
  assert.ok(answer.prompt_id, JSON.stringify(answer));
  await until(async () => (await get(`/history/${answer.prompt_id}`))[answer.prompt_id]?.status?.completed);
  assert.deepEqual(await page.locator(".loom-run").evaluateAll((all) => all.map((each) => each.dataset.status)), ["idle", "idle"]);

  await page.evaluate((number) => {
    window.texts = [new Set(), new Set()];
    document.querySelectorAll(".loom-run").forEach((element, index) =>
      new MutationObserver(() => window.texts[index].add(element.querySelector(".loom-run-what").textContent)).observe(element, { subtree: true, childList: true, characterData: true, attributes: true }),
    );
    const samplers = window.app.graph.nodes.filter((node) => node.comfyClass === "LoomVideoSampler");
    samplers.forEach((node, index) => {
      node.widgets.find((each) => each.name === "seed").value = number + index;
      node.widgets.find((each) => each.name === "steps").value = 6 + index;
    });
  }, seed());
  await queue(page);
  await given(page, { [SAMPLER]: { steps: 8 } });
  assert.equal(await run(page), "success");
  await until(async () => Object.values(await get("/queue")).every((prompts) => !prompts.length));
  await page.waitForFunction(() => [...document.querySelectorAll(".loom-run")].every((each) => each.dataset.status === "done"), null, LIMIT);
  const texts = await page.evaluate(() => window.texts.map((each) => [...each]));
  const counts = texts.map((each) => [...new Set(each.map((text) => /of (\d+)$/.exec(text)?.[1]).filter(Boolean))]);
  assert.deepEqual(counts, [["6", "8"], ["7", "8"]]);
  assert.ok(texts.every((each) => each.includes("Another part of the graph runs")), JSON.stringify(texts));
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

test("a sampler inside of a subgraph", async () => {
  const page = await opened("image_edit");
  await given(page, { [SAMPLER]: { seed: seed(), steps: 40 } });
  await page.evaluate((kind) => {
    const { graph, canvas } = window.app;
    const { node, subgraph } = graph.convertToSubgraph(new Set([graph.nodes.find((each) => each.comfyClass === kind)]));
    canvas.openSubgraph(subgraph, node);
  }, SAMPLER);
  await panel(page, "loom_run").waitFor(LIMIT);
  await queue(page);
  await step(page, 2);
  assert.match(await what(page), /of 40$/);
  assert.equal((await marks(page)).denoise, "current");
  await post("/interrupt");
  await status(page, "cancelled");
  await page.context().close();
});

test("by keyboard: what the numbers mean", async () => {
  const page = await opened("image_edit", { theme: "light", renderer: "vue" });
  await given(page, { [SAMPLER]: { seed: seed(), steps: 3 } });
  assert.equal(await run(page), "success");
  await status(page, "done");
  const terms = panel(page, "loom_run").locator(".loom-run-term");
  const hint = panel(page, "loom_run").locator("[role=tooltip]:visible");
  await terms.nth(0).focus();
  assert.match(await hint.textContent(), /memory of the whole ComfyUI process/);
  await page.keyboard.press("Tab");
  assert.match(await hint.textContent(), /^16 of the result and 0 of references .* \d+ of prompt and pictures/);
  await picture(page, "run_hint_light_vue");
  await page.keyboard.press("Tab");
  assert.match(await hint.textContent(), /^Guidance 2, visual guidance 1.5\./);
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  assert.equal(await hint.count(), 0);
  assert.equal(await panel(page, "loom_run").locator(".loom-run-branches").evaluate((element) => element === document.activeElement), true);
  await terms.nth(0).hover();
  await hint.waitFor(LIMIT);

  // all branches but one: what the user should know stands behind a mark of its own
  assert.equal(await panel(page, "loom_run").locator(".loom-run-notice").isVisible(), false);
  await page.evaluate(() => {
    const node = window.app.graph.nodes.find((each) => each.comfyClass === "LoomVideoSampler");
    node.disconnectInput(node.findInputSlot("visual"));
  });
  await given(page, { [SAMPLER]: { seed: seed() } });
  assert.equal(await run(page), "success");
  const notice = panel(page, "loom_run").locator(".loom-run-notice");
  await notice.waitFor(LIMIT);
  await notice.focus();
  assert.match(await hint.textContent(), /^no visual conditioning is connected/);
  assert.equal(await page.locator("[data-branch='visual']").getAttribute("data-state"), "rests");
  assert.deepEqual(await violations(page), []);
  await page.context().close();
});
