// As much of ComfyUI and of a browser as the surveys of a graph ask for: nodes with links, a server that knows files, pictures
// that are decoded at once. Import it before the scripts, and those with `await import`.
import { register } from "node:module";

const HOST = `
  export const api = Object.assign(new EventTarget(), { apiURL: (path) => path, fetchApi: async (path) => globalThis.loomServer(path) });
  export const app = {};`;
const HOOK = `
  const host = ${JSON.stringify(`data:text/javascript,${encodeURIComponent(HOST)}`)};
  export const resolve = (path, context, next) =>
    /\\/scripts\\/(app|api)\\.js$/.test(path) ? { url: host, shortCircuit: true } : next(path, context);`;
register(`data:text/javascript,${encodeURIComponent(HOOK)}`);

/** What the server says of a file: pictures in it by name, 0 for one that is not there. @type {Map<string, number>} */
export const files = new Map();

globalThis.loomServer = (path) => {
  const count = files.get(new URL(path, "http://host").searchParams.get("filename"));
  return { ok: Boolean(count), status: count ? 200 : count === 0 ? 404 : 500, json: async () => ({ is_image: count === 1, num_frames: count }) };
};
globalThis.addEventListener = () => {};
globalThis.Image = class {
  naturalWidth = 64;
  naturalHeight = 48;
  async decode() {
    const name = new URL(this.src, "http://host").searchParams.get("filename");
    if (!files.get(name)) throw new Error(`no picture ${name}`);
  }
};
globalThis.document = {
  createElement: () => ({ getContext: () => ({ drawImage() {}, getImageData: () => ({ data: [0, 0, 0, 255] }) }) }),
};

/** A graph, whose nodes are linked by `connect`. */
export class Graph {
  /** @type {Map<number, any>} */
  nodes = new Map();
  id = "graph";
  rootGraph = this;

  getNodeById(id) {
    return this.nodes.get(Number(id)) ?? null;
  }

  /** @param {string} kind @param {Record<string, any>} [values] Of widgets. @param {string[]} [inputs] Names. */
  add(kind, values = {}, inputs = []) {
    const links = new Map();
    const node = {
      id: this.nodes.size + 1,
      comfyClass: kind,
      type: kind,
      title: kind,
      constructor: { title: kind },
      mode: 0,
      graph: this,
      widgets: Object.entries(values).map(([name, value]) => ({ name, value })),
      inputs: inputs.map((name) => ({ name, type: "IMAGE" })),
      outputs: [{ type: kind === "LoomVideoReferenceSlots" ? "REFERENCES" : "IMAGE" }],
      findInputSlot: (name) => inputs.indexOf(name),
      isInputConnected: (slot) => links.has(slot),
      getInputLink: (slot) => links.get(slot) ?? null,
      getInputNode: (slot) => this.getNodeById(links.get(slot)?.origin_id),
      getOutputNodes: (slot) =>
        [...this.nodes.values()].filter((each) =>
          each.inputs.some((_, at) => each.getInputLink(at)?.origin_id === node.id && each.getInputLink(at).origin_slot === slot),
        ),
      /** @param {any} from null for what comes from outside of a subgraph. */
      connect: (name, from) => {
        links.set(inputs.indexOf(name), { origin_id: from?.id ?? -10, origin_slot: 0 });
        return node;
      },
    };
    this.nodes.set(node.id, node);
    return node;
  }

  /** Reference Slots that these nodes are connected to, and an encode node behind it. @param {...any} sources null leaves one empty. */
  encodes(...sources) {
    const names = sources.map((_, at) => `images.image_${at + 1}`);
    const slots = this.add("LoomVideoReferenceSlots", { batch: "one reference a frame", fit: "cover", width: 832, height: 480 }, ["batch", ...names]);
    sources.forEach((source, at) => source && slots.connect(names[at], source));
    return { slots, encode: this.add("LoomVideoDeepstackEncode", {}, ["references"]).connect("references", slots) };
  }

  /** @param {string} image Name of its file. @param {number} [count] Pictures in it, 0 for a file that is not there; none for one of which nothing is known. */
  load(image, count) {
    if (count !== undefined) files.set(image, count);
    return this.add("LoadImage", { image });
  }
}
