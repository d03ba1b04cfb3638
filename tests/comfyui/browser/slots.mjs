// A graph of a real ComfyUI with Reference Slots that has three pictures, for the tests of what is said of them.
import { open, panel, show } from "./page.mjs";

export const SLOTS = "LoomVideoReferenceSlots";
export const ENCODE = "LoomVideoDeepstackEncode";
export const PROMPT = "Put @Image 1 beside @image2 on @Image 3.";
const PICTURES = { "strip_tall.png": [900, 1600], "strip_small.png": [96, 64], "strip_cutout.png": [832, 480] };

/** Uploads pictures of three sizes, the last with a transparent ground, and connects them in this order. */
export async function stage({ change = {}, ...options } = {}) {
  const page = await open(options);
  const graph = {
    1: { class_type: "LoomVideoVAELoader", inputs: { vae_name: "built-in: loom-tiny" } },
    5: { class_type: SLOTS, inputs: { vae: ["1", 0], width: 832, height: 480, fit: "cover", batch: "one reference a frame", temporal_indices: "" } },
    6: { class_type: ENCODE, inputs: { references: ["5", 0], prompt: PROMPT, negative_prompt: "@Image 1" } },
    7: { class_type: "PreviewImage", inputs: { images: ["5", 1] } },
  };
  Object.keys(PICTURES).forEach((name, at) => {
    graph[at + 2] = { class_type: "LoadImage", inputs: { image: name } };
    graph[5].inputs[`images.image_${at + 1}`] = [String(at + 2), 0];
  });
  for (const [id, part] of Object.entries(change)) graph[id] = { ...graph[id], ...part, inputs: { ...graph[id]?.inputs, ...part.inputs } };
  await page.evaluate(
    async ([pictures, api]) => {
      for (const [name, [width, height]] of Object.entries(pictures)) {
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        const context = canvas.getContext("2d");
        const colours = context.createLinearGradient(0, 0, width, height);
        colours.addColorStop(0, "#c0392b");
        colours.addColorStop(1, name.includes("tall") ? "#f4d03f" : "#1a5276");
        context.fillStyle = colours;
        if (name.includes("cutout")) context.arc(width / 2, height / 2, height / 3, 0, 7);
        else context.rect(0, 0, width, height);
        context.fill();
        const form = new FormData();
        form.append("image", await new Promise((done) => canvas.toBlob(done, "image/png")), name);
        form.append("overwrite", "true");
        await fetch("/upload/image", { method: "POST", body: form });
      }
      await window.app.refreshComboInNodes();
      await window.app.loadApiJson(api, "strip");
      window.app.graph.nodes.forEach((node, at) => (node.pos = [460 * (at % 4), 700 * Math.floor(at / 4)]));
      window.app.graph.nodes.find((node) => node.comfyClass === "LoomVideoReferenceSlots").setSize([400, 600]);
      window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState();
    },
    [PICTURES, graph],
  );
  await show(page, SLOTS);
  await panel(page, "reference strip").locator("img").first().waitFor();
  return page;
}
