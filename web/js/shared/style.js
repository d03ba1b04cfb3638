// The one stylesheet, in ComfyUI's own colours, so that it follows the theme.
// @ts-check

/** Add the stylesheet to the page, once. */
export function loadStyle() {
  const address = new URL("../loomvideo.css", import.meta.url).href;
  if (document.querySelector(`link[href="${address}"]`)) return;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = address;
  document.head.append(link);
}
