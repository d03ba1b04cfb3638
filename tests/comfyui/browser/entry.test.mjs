// The entry itself: what stays when it, or a part of it, does not load.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open } from "./page.mjs";

const names = (page) =>
  page.evaluate(() =>
    Object.fromEntries(
      window.app.graph.nodes.filter((node) => node.comfyClass?.startsWith("LoomVideo")).map((node) => [node.comfyClass, node.widgets?.filter((each) => each.type !== "loom-panel").map((each) => each.name) ?? []]),
    ),
  );
const prompt = (page) =>
  page.evaluate(async () =>
    Object.values((await window.app.graphToPrompt()).output).filter((node) => node.class_type.startsWith("LoomVideo")),
  );
const saved = (page) =>
  page.evaluate(() =>
    window.app.graph.serialize().nodes.filter((node) => node.type.startsWith("LoomVideo")).map((node) => [node.type, node.widgets_values]),
  );

for (const renderer of RENDERERS) {
  test(`without the scripts the graph is the same, ${renderer}`, async () => {
    const whole = await open({ template: "reference_edit", renderer });
    const plain = await open({
      template: "reference_edit",
      renderer,
      before: (page) => page.route("**/comfyui-loomvideo/js/**", (route) => route.abort()),
    });
    assert.deepEqual(await names(whole), await names(plain));
    assert.deepEqual(await prompt(whole), await prompt(plain));
    assert.deepEqual(await saved(whole), await saved(plain));
    assert.deepEqual(whole.errors, []);
    await whole.context().close();
    await plain.context().close();
  });
}

test("the panels can be turned off", async () => {
  const page = await open({ template: "reference_edit", settings: { "LoomVideo.Panels": false } });
  assert.equal(await page.locator("[data-loom-panel]").count(), 0);
  await page.context().close();
});
