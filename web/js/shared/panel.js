// A panel is an element in a node, below its widgets, in either renderer. It holds no value of its own.
// @ts-check

/**
 * Add an element to a node. It is neither saved nor queued.
 *
 * @param {any} node
 * @param {string} name Of the widget; no input of the node may have it.
 * @param {HTMLElement} element
 * @param {{height: () => number, after?: any}} size Least height in CSS pixels at a zoom of 1, asked anew at each layout; and the
 *     widget below which it stands, where that is not the last.
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
    if (isEditing(event.target) && !isCommand(event)) event.stopPropagation();
  });
  const widget = node.addDOMWidget(name, "loom-panel", element, {
    serialize: false,
    hideOnZoom: false,
    hideInPanel: true, // ComfyUI's side panel would draw it as a widget of its own, and give it its width
    getMinHeight: size.height,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  if (size.after) putAfter(node, widget, size.after);
  takePlace(node, name, element);
  return widget;
}

/** @type {Map<string, WeakRef<HTMLElement>>} The panels that stand, by their node. */
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
    const old = standing.get(key)?.deref();
    if (node.graph && !element.isConnected && old?.isConnected) old.replaceWith(element);
    if (node.graph) standing.set(key, new WeakRef(element));
    if (!element.isConnected && frames--) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** @param {any} node @param {any} widget @param {any} other */
function putAfter(node, widget, other) {
  node.widgets.splice(node.widgets.indexOf(widget), 1);
  node.widgets.splice(node.widgets.indexOf(other) + 1, 0, widget);
  // some frontends save values by their place among all widgets, which leaves a hole here; they read them without holes
  const before = node.onSerialize;
  node.onSerialize = function (/** @type {any} */ saved) {
    before?.call(this, saved);
    if (saved.widgets_values) saved.widgets_values = Object.values(saved.widgets_values);
  };
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

/** Keys that ComfyUI acts upon while text is edited: to queue, and to save. @param {KeyboardEvent} event */
function isCommand(event) {
  return (event.ctrlKey || event.metaKey) && /^(Enter|s)$/i.test(event.key);
}

/** @param {EventTarget | null} target */
function isEditing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
