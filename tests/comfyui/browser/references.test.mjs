// One number means one picture: to the node that numbers them, to the strip, to the prompt editor and to the pre-flight.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, open, panel, picture, run, show } from "./page.mjs";

const SLOTS = "LoomVideoReferenceSlots";
const ENCODE = "LoomVideoDeepstackEncode";
/** A red and a blue picture of 64 x 48. */
const MOVES =
  "R0lGODlhQAAwAIEAAP8AAAAAAAAAAAAAACH5BAAKAAAALAAAAABAADAAAAhaAAEIHEiwoMGDCBMqXMiwocOHECNKnEixosWLGDNq3Mixo8ePIEOKHEmypMmTKFOqXMmypcuXMGPK" +
  "nEmzps2bOHPq3Mmzp8+fQIMKHUq0qNGjSJMqXcq0adGAACH5BAEKAAEALAAAAABAADAAgQAA/wAAAAAAAAAAAAhaAAEIHEiwoMGDCBMqXMiwocOHECNKnEixosWLGDNq3Mixo8eP" +
  "IEOKHEmypMmTKFOqXMmypcuXMGPKnEmzps2bOHPq3Mmzp8+fQIMKHUq0qNGjSJMqXcq0adGAADs=";
const GRAPH = {
  1: { class_type: "LoomVideoVAELoader", inputs: { vae_name: "built-in: loom-tiny" } },
  2: { class_type: "LoadImage", inputs: { image: "loom_moves.gif" } },
  3: { class_type: "LoadImage", inputs: { image: "loomvideo_maroon.png" } },
  4: { class_type: SLOTS, inputs: { vae: ["1", 0], "images.image_1": ["2", 0], "images.image_2": ["3", 0], width: 64, height: 64, fit: "cover", batch: "one reference a frame", temporal_indices: "" } },
  5: { class_type: ENCODE, inputs: { references: ["4", 0], prompt: "Put @Image 4 on", negative_prompt: "" } },
  6: { class_type: "PreviewImage", inputs: { images: ["4", 1] } },
};

async function stage(renderer) {
  const page = await open({ renderer });
  await page.evaluate(
    async ([file, api]) => {
      const form = new FormData();
      form.append("image", new Blob([Uint8Array.from(atob(file), (each) => each.charCodeAt(0))], { type: "image/gif" }), "loom_moves.gif");
      form.append("overwrite", "true");
      await fetch("/upload/image", { method: "POST", body: form });
      await window.app.refreshComboInNodes();
      await window.app.loadApiJson(api, "references");
      window.app.graph.nodes.find((node) => node.comfyClass === "LoomVideoDeepstackEncode").setSize([420, 640]);
      window.app.graph.nodes.forEach((node, at) => (node.pos = [460 * (at % 3), 700 * Math.floor(at / 3)]));
    },
    [MOVES, GRAPH],
  );
  return page;
}

const preflight = (page) =>
  page.evaluate(async () => {
    const prompt = (await window.app.graphToPrompt()).output;
    const answer = await fetch("/loomvideo/preflight", { method: "POST", body: JSON.stringify({ prompt }) });
    return (await answer.json()).findings.filter((each) => each.check === "references").map((each) => each.sentence);
  });
const texts = async (locator) => (await locator.allTextContents()).map((text) => text.trim());

for (const renderer of RENDERERS)
  test(`the pictures of an animation are numbered alike everywhere, ${renderer}`, async () => {
    const page = await stage(renderer);
    const [strip, editor] = [panel(page, "reference strip"), panel(page, "loom_prompt")];
    await show(page, SLOTS);
    await strip.getByText("@Image 1–2").waitFor();
    assert.deepEqual(await texts(strip.locator("b")), ["@Image 1–2", "@Image 3"]);
    await show(page, ENCODE);
    await editor.locator(".loom-prompt-wrong").waitFor();
    await picture(page, `references_problems_${renderer}`);
    assert.match(await editor.getByRole("status").innerText(), /@Image 4 has no reference[^]*@Image 1–3 are never mentioned/);
    assert.ok((await preflight(page)).some((sentence) => sentence.includes("@Image 4 in the prompt with 3 references")));
    await editor.getByRole("textbox").click({ position: { x: 40, y: 20 } });
    await page.keyboard.press("Control+End");
    await page.keyboard.press("Control+a");
    await page.keyboard.type("@");
    const options = page.getByRole("option", { name: /@Image/ });
    await options.first().waitFor();
    assert.deepEqual(await texts(options), ["@Image 1loom_moves.gif · 1/2", "@Image 2loom_moves.gif · 2/2", "@Image 3loomvideo_maroon.png"]);
    await options.last().click();
    await page.keyboard.type("beside @1");
    await page.keyboard.press("Enter");
    assert.match(await editor.getByRole("status").innerText(), /^\s*@Image 2 is never mentioned/);

    await show(page, SLOTS);
    assert.equal(await run(page), "success");
    const counts = await page.evaluate(() => window.app.nodeOutputs["4"].loom_counts);
    assert.deepEqual(counts, [2, 1], "the node numbers them so");
    assert.deepEqual(await texts(strip.locator("b")), ["@Image 1–2", "@Image 3"]);
    await show(page, ENCODE);
    await editor.getByRole("textbox").click({ position: { x: 40, y: 20 } });
    await page.keyboard.press("Control+End");
    await page.keyboard.type(" @");
    const second = options.nth(1).locator("img");
    await second.waitFor();
    const colour = await second.evaluate(async (image) => {
      await image.decode();
      const [inner, outer] = [image.getBoundingClientRect(), image.parentElement.parentElement.getBoundingClientRect()];
      const scale = image.naturalWidth / inner.width;
      const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
      const context = canvas.getContext("2d");
      context.drawImage(image, (outer.left + outer.width / 2 - inner.left) * scale, (outer.top + outer.height / 2 - inner.top) * scale, 1, 1, 0, 0, 1, 1);
      return [...context.getImageData(0, 0, 1, 1).data];
    });
    assert.ok(colour[2] > 200 && colour[0] < 50, `the second picture is blue, not ${colour}`);
    await picture(page, `references_${renderer}`);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
