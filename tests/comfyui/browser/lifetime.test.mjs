// Nodes that ComfyUI makes and never puts into a graph, and those that it drops, keep no listener.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open, press, show } from "./page.mjs";

const KINDS = ["LoomVideoSampler", "LoomVideoDeepstackEncode", "LoomVideoSourceLatentScaler", "LoomVideoReferenceSlots", "LoomVideoRestoreVideo"];

/** How many frames are asked for when something changed, and when a run goes on: each panel that listens asks for one. */
const listening = (page) =>
  page.evaluate(async () => {
    const { api } = await import("/scripts/api.js");
    const frame = window.requestAnimationFrame;
    await new Promise((resolve) => frame(() => frame(() => frame(resolve)))); // what was asked for before is done
    let count = 0;
    window.requestAnimationFrame = (act) => {
      count += 1;
      return frame(act);
    };
    api.dispatchEvent(new CustomEvent("graphChanged", { detail: {} }));
    api.dispatchEvent(new CustomEvent("loomvideo.progress", { detail: { prompt_id: "none", node: "none" } }));
    window.requestAnimationFrame = frame;
    return count;
  });

for (const renderer of RENDERERS)
  test(`copies, nodes that are never added and dropped subgraphs listen to nothing, ${renderer}`, async () => {
    const page = await open({ template: "reference_edit", renderer });
    await show(page, KINDS[0]);
    await page.waitForTimeout(1000);
    const before = await listening(page);
    assert.ok(before >= 5, `${before} panels listen`);
    await page.evaluate((kinds) => kinds.forEach((kind) => window.LiteGraph.createNode(kind)), KINDS);
    assert.equal(await listening(page), before);
    // a copy is made for the clipboard
    await page.evaluate(() => {
      const { canvas, graph } = window.app;
      canvas.selectItems(graph.nodes.filter((node) => node.comfyClass?.startsWith("LoomVideo")));
    });
    await press(page, "c");
    assert.equal(await listening(page), before);
    // the sampler's subgraph goes with the graph
    await page.evaluate((kind) => {
      const { graph } = window.app;
      graph.convertToSubgraph(new Set([graph.nodes.find((each) => each.comfyClass === kind)]));
    }, KINDS[0]);
    await page.waitForTimeout(500);
    assert.equal(await listening(page), before);
    await page.evaluate(async (kind) => {
      await window.app.loadGraphData({ version: 0.4, last_node_id: 1, last_link_id: 0, nodes: [{ id: 1, type: kind, pos: [0, 0], size: [400, 600], flags: {}, order: 0, mode: 0, inputs: [], outputs: [], properties: {}, widgets_values: [] }], links: [] });
    }, KINDS[0]);
    await page.waitForTimeout(500);
    const alone = await listening(page);
    assert.ok(alone > 0 && alone <= 3, `${alone} frames for one sampler`);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
