// The stylesheets, in ComfyUI's own colours, so that they follow the theme: what all panels share, and one for each feature.
// @ts-check

const SHEETS = ["loomvideo", ...["prompt", "strip", "timeline", "run", "wipe", "plan", "preflight"].map((name) => `${name}/${name}`)];

/** Add the stylesheets to the page, once. */
export function loadStyle() {
  for (const sheet of SHEETS) {
    const address = new URL(`../${sheet}.css`, import.meta.url).href;
    if (document.querySelector(`link[href="${address}"]`)) continue;
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = address;
    document.head.append(link);
  }
}
