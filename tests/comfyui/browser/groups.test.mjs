// The bundled workflows as they open: each group is as large as the nodes in it, however they are drawn.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { RENDERERS, open } from "./page.mjs";

const TEMPLATES = readdirSync(new URL("../../../workflows/", import.meta.url)).flatMap((name) => (name.endsWith(".json") ? [name.slice(0, -5)] : []));

/** Nodes that stick out of the group in which they begin: its title, theirs, and by how many units of the canvas. */
const stickingOut = (page) =>
  page.evaluate(() => {
    const { canvas, graph } = window.app;
    const { scale, offset } = canvas.ds;
    const frame = canvas.canvas.getBoundingClientRect();
    const drawn = (node) => {
      const element = document.querySelector(`[data-node-id="${node.id}"]`);
      if (!element) return { right: node.boundingRect[0] + node.boundingRect[2], bottom: node.boundingRect[1] + node.boundingRect[3] };
      const box = element.getBoundingClientRect();
      return { right: (box.right - frame.left) / scale - offset[0], bottom: (box.bottom - frame.top) / scale - offset[1] };
    };
    return graph._groups.flatMap((group) => {
      const [left, top, width, height] = group.boundingRect ?? group._bounding;
      const inside = graph.nodes.filter(({ pos: [x, y] }) => x >= left && x < left + width && y >= top && y < top + height);
      return inside.flatMap((node) => {
        const { right, bottom } = drawn(node);
        const by = Math.round(Math.max(right - left - width, bottom - top - height));
        return by > 0 ? [`${group.title}: ${node.title} by ${by}`] : [];
      });
    });
  });

for (const renderer of RENDERERS)
  test(`groups hold their nodes, ${renderer}`, async () => {
    for (const template of TEMPLATES) {
      const page = await open({ template, renderer });
      await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.Canvas.FitView"));
      await page.waitForTimeout(1500); // pictures come, and nodes take their size
      assert.deepEqual([template, await stickingOut(page)], [template, []]);
      await page.context().close();
    }
  });
