// Elements, made in one call.
// @ts-check

/**
 * An element with attributes, listeners and children.
 *
 * @param {string} tag Name, with classes after dots: "button.loom-button".
 * @param {Record<string, any>} [attributes] Attributes; `onclick` and the like are listeners, `true` an attribute without a
 *     value, false, null and undefined none at all.
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child || child === "")));
  return element;
}
