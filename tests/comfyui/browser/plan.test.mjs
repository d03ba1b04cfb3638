// LoomVideo Memory Plan: what a run will take stands on the node, in both renderers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open, panel, picture, run, show, violations } from "./page.mjs";

const KIND = "LoomVideoMemoryPlan";

const add = (page, values) =>
  page.evaluate(
    async ([kind, wanted]) => {
      window.app.graph.clear();
      const node = window.LiteGraph.createNode(kind);
      window.app.graph.add(node);
      for (const [name, value] of Object.entries(wanted)) node.widgets.find((each) => each.name === name).value = value;
    },
    [KIND, values],
  );

for (const renderer of RENDERERS)
  test(`each phase stands on the node with its reasons, ${renderer}`, async () => {
    const page = await open({ renderer });
    await add(page, { vram: 4, width: 1280, height: 704, length: 121, references: 4 });
    await show(page, KIND);
    const plan = panel(page, "loom_plan");
    assert.match(await plan.innerText(), /After a run/);
    assert.equal(await run(page), "success");
    await plan.locator("h4").first().waitFor();
    const titles = await plan.locator("h4").allInnerTexts();
    assert.deepEqual(titles.map((title) => title.split(":")[0]), ["prompt", "encode", "denoise", "decode"]);
    assert.equal(await plan.locator(".loom-plan-over").count(), 1); // denoise alone does not fit
    assert.match(await plan.innerText(), /tiles of 256 pixels/);
    assert.match(await plan.innerText(), /^It does not fit: no room for denoise\.\s+To fix: use \d+ frames/);
    assert.deepEqual(await violations(page), []);
    await picture(page, `plan-${renderer}`);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
