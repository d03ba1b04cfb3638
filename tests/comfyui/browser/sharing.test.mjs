// What others get: files that hold their graph, graphs that name the pack and the weights that they need.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { RENDERERS, SERVER, drop, open, picture, run } from "./page.mjs";

const workflow = (name) => JSON.parse(readFileSync(new URL(`../../../workflows/${name}.json`, import.meta.url)));

/** The last run: what was queued, and the file that it saved. */
async function lastRun() {
  const runs = Object.values(await (await fetch(`${SERVER}/history`)).json());
  const last = runs.reduce((one, other) => (one.prompt[0] > other.prompt[0] ? one : other));
  const [file] = Object.values(last.outputs).flatMap((output) => output.images ?? []).filter((each) => each.type === "output");
  return { prompt: last.prompt[2], file, query: new URLSearchParams(file) };
}

/** What a graph would queue, without titles. @param {any} prompt */
const inputsOf = (prompt) => Object.fromEntries(Object.entries(prompt).map(([id, node]) => [id, [node.class_type, node.inputs]]));

/** Makes a run short. @param {any} page */
const shorten = (page) =>
  page.evaluate(() => {
    const values = { LoomVideoSampler: { steps: 2 }, LoomVideoSourceLatentScaler: { max_frames: 9 } };
    for (const node of window.app.graph.nodes)
      for (const widget of node.widgets ?? []) widget.value = values[node.comfyClass]?.[widget.name] ?? widget.value;
  });

for (const renderer of RENDERERS) {
  for (const [name, ending, type] of [["video_edit", "mp4", "video/mp4"], ["image_edit", "png", "image/png"]])
    test(`${name}: the saved file is named by task and seed, and gives the graph back, ${renderer}`, async () => {
      const page = await open({ template: name, renderer });
      await shorten(page);
      assert.equal(await run(page), "success");
      const { prompt, file, query } = await lastRun();
      const { seed } = Object.values(prompt).find((node) => node.class_type === "LoomVideoSampler").inputs;
      assert.match(file.filename, new RegExp(`^${name}_seed${seed}_\\d+_\\.${ending}$`));
      if (ending === "mp4") {
        const facts = await (await fetch(`${SERVER}/loomvideo/media?${query}`)).json();
        assert.equal(facts.has_audio, true); // the clip's own sound was added
      }
      const bytes = new Uint8Array(await (await fetch(`${SERVER}/view?${query}`)).arrayBuffer());
      await page.context().close();

      const other = await open({ renderer });
      const known = await other.evaluate(() => window.app.graph.nodes.some((node) => node.comfyClass?.startsWith("LoomVideo")));
      assert.equal(known, false);
      await drop(other, file.filename, type, bytes);
      await other.waitForFunction(() => window.app.graph.nodes.some((node) => node.comfyClass === "LoomVideoSampler"), null, { timeout: 60_000 });
      await other.waitForTimeout(1500);
      const again = await other.evaluate(async () => (await window.app.graphToPrompt()).output);
      assert.deepEqual(inputsOf(again), inputsOf(prompt));
      assert.ok(await other.evaluate(() => window.app.graph.nodes.some((node) => node.title === "Read me"))); // the whole graph, notes too
      await other.keyboard.press("."); // the whole graph in view
      await other.waitForTimeout(1000);
      await picture(other, `sharing-dropped-${name}-${renderer}`);
      assert.deepEqual(other.errors, []);
      await other.context().close();
    });
}

/** Opens what ComfyUI found wrong with a graph, and gives its words. @param {any} page @param {RegExp} wanted */
async function complaints(page, wanted) {
  const details = page.getByText("View details").or(page.getByText("See Errors")).or(page.getByRole("button", { name: /Show (missing|errors)/i }));
  // not by the mouse: after a second graph a veil that has faded may still lie over ComfyUI's page
  await details.first().dispatchEvent("click", undefined, { timeout: 60_000 });
  // the notice that leads to the list has its words too, so that the page is asked until they are all there
  for (let tries = 0; tries < 300; tries++) {
    const words = await page.evaluate(() => document.body.innerText);
    if (wanted.test(words)) return words;
    // the side panel may open at another of its pages
    if (tries % 50 === 20) await page.getByText("Errors", { exact: true }).first().dispatchEvent("click").catch(() => {});
    await page.waitForTimeout(100);
  }
  return page.evaluate(() => document.body.innerText);
}

test("without the pack ComfyUI names it by its registry id", async () => {
  const graph = workflow("video_edit");
  const page = await open({
    before: async (fresh) => {
      await fresh.route("**/object_info", async (route) => {
        const answer = await route.fetch();
        const nodes = Object.entries(await answer.json()).filter(([name]) => !name.startsWith("LoomVideo"));
        await route.fulfill({ response: answer, json: Object.fromEntries(nodes) });
      });
      await fresh.route("**/comfyui-loomvideo/js/**", (route) => route.abort());
    },
  });
  await drop(page, "video_edit.json", "application/json", Buffer.from(JSON.stringify(graph)));
  const count = graph.nodes.filter((node) => node.type.startsWith("LoomVideo")).length;
  const named = new RegExp(`Missing Node Packs[\\s\\S]*comfyui-loomvideo\\s+\\(?${count}`, "i");
  const words = await complaints(page, named);
  assert.match(words, named);
  assert.doesNotMatch(words, /unknown pack/i);
  await picture(page, "sharing-missing-pack");
  await page.context().close();
});

test("weights that are not there are listed with folder and address; the built-in ones never", async () => {
  const graph = workflow("video_edit");
  const page = await open({});
  await drop(page, "video_edit.json", "application/json", Buffer.from(JSON.stringify(graph)));
  await page.waitForFunction(() => window.app.graph.nodes.some((node) => node.comfyClass === "LoomVideoSampler"), null, { timeout: 60_000 });
  await page.waitForTimeout(3000);
  assert.doesNotMatch(await page.evaluate(() => document.body.innerText), /errors? found|missing models/i);

  // an artist chose the released files, and saved
  const models = graph.nodes.flatMap((node) => (node.properties.models ?? []).map((model) => ({ node, model })));
  assert.equal(models.length, 3);
  for (const { node, model } of models) {
    node.widgets_values[0] = model.name;
    for (const name of Object.keys(node.widgets_values_named)) if (name.endsWith("_name")) node.widgets_values_named[name] = model.name;
  }
  await drop(page, "released.json", "application/json", Buffer.from(JSON.stringify(graph)));
  const words = await complaints(page, /Missing Models/i);
  for (const { model } of models) assert.match(words, new RegExp(`${model.name.replaceAll(".", "\\.")}[\\s\\S]{0,40}${model.directory}|${model.directory}[\\s\\S]{0,80}${model.name.replaceAll(".", "\\.")}`));
  await picture(page, "sharing-missing-models");
  // a download is a link that the page clicks
  await page.evaluate(() => {
    window.asked = [];
    HTMLAnchorElement.prototype.click = function () {
      window.asked.push(this.href);
    };
  });
  for (const button of await page.getByRole("button", { name: /^Download(?! all)/ }).all()) await button.dispatchEvent("click");
  const wanted = models.map(({ model }) => model.url);
  await page.waitForFunction((count) => new Set(window.asked).size >= count, wanted.length, { timeout: 10_000 });
  assert.deepEqual([...new Set(await page.evaluate(() => window.asked))].sort(), wanted.sort());
  await page.context().close();
});
