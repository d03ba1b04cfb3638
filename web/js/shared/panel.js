// A panel is an element in a node, below its widgets, in either renderer. It holds no value of its own.
// @ts-check

/**
 * Add an element to a node. It is neither saved nor queued.
 *
 * @param {any} node
 * @param {string} name Of the widget; no input of the node may have it.
 * @param {HTMLElement} element
 * @param {{height: () => number}} size Least height in CSS pixels at a zoom of 1, asked anew at each layout.
 * @returns {any} The widget.
 */
export function addPanel(node, name, element, size) {
  element.classList.add("loom-panel");
  element.dataset.loomPanel = name;
  // what is meant for the panel is no command to the canvas: the wheel scrolls, keys type, a press does not drag the node
  element.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && canScroll(event)) event.stopPropagation();
  });
  for (const kind of ["pointerdown", "mousedown", "dblclick", "contextmenu"])
    element.addEventListener(kind, (event) => event.stopPropagation());
  element.addEventListener("keydown", (event) => {
    if (isEditing(event.target)) event.stopPropagation();
  });
  const widget = node.addDOMWidget(name, "loom-panel", element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: size.height,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  takePlace(node, name, element);
  return widget;
}

/** @type {Map<string, HTMLElement>} The panels that stand, by their node. */
const standing = new Map();

/**
 * Vue nodes keep showing the element of a node that undo has made anew, under the same number; put the new one there.
 *
 * @param {any} node @param {string} name @param {HTMLElement} element
 */
function takePlace(node, name, element) {
  let frames = 10; // until the node is in the graph, and drawn
  const look = () => {
    const key = `${node.graph?.id} ${node.id} ${name}`;
    const old = standing.get(key);
    if (node.graph && !element.isConnected && old?.isConnected) old.replaceWith(element);
    if (node.graph) standing.set(key, element);
    if (!element.isConnected && frames--) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** Make the node at least as high as what is in it, after a panel grew. @param {any} node */
export function fit(node) {
  const [width, height] = node.computeSize();
  if (node.size[0] < width || node.size[1] < height)
    node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas?.(true, true);
}

/**
 * Hide a widget whose value a panel shows and edits; it still is what is saved and queued.
 *
 * @param {any} widget
 * @param {boolean} [isHidden]
 */
export function hide(widget, isHidden = true) {
  widget.hidden = isHidden; // the canvas asks this
  widget.options ??= {};
  widget.options.hidden = isHidden; // Vue nodes ask this
  if (widget.element) widget.element.hidden = isHidden;
}

/** @param {WheelEvent} event */
function canScroll(event) {
  for (let at = /** @type {Element | null} */ (event.target); at; at = at.parentElement) {
    if (at.scrollHeight > at.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(at).overflowY)) return true;
    if (at.hasAttribute("data-loom-panel")) return false;
  }
  return false;
}

/** @param {EventTarget | null} target */
function isEditing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
