// Between the editor's elements and the plain text: what text they stand for, and where in it the caret is.
// @ts-check

/** @typedef {{nodeType: number, nodeName: string, data?: string, dataset?: any, childNodes: ArrayLike<any>}} Part What is asked of a DOM node. */

const TEXT = 3;
const ELEMENT = 1;

/**
 * How long a part is in plain text, and what it says.
 *
 * @param {Part} part A chip has its text in data-text; the line break with data-end keeps the last line open and is none.
 * @returns {string}
 */
export function textOf(part) {
  if (part.nodeType === TEXT) return part.data ?? "";
  if (part.nodeType !== ELEMENT) return "";
  if (part.dataset?.text !== undefined) return part.dataset.text;
  if (part.nodeName === "BR") return part.dataset?.end === undefined ? "\n" : "";
  return Array.from(part.childNodes, textOf).join("");
}

/**
 * @param {Part} root The editor.
 * @param {Part} node
 * @param {number} offset As in a Range: characters of a text node, children of an element.
 * @returns {number | null} Characters of the plain text before it; inside of a chip, those to its end. null outside of the editor.
 */
export function offsetAt(root, node, offset) {
  let before = 0;
  /** @param {Part} part @returns {boolean} Whether the place was in this part. */
  const visit = (part) => {
    if (part.dataset?.text !== undefined && part !== root) {
      before += part.dataset.text.length;
      return contains(part, node);
    }
    if (part === node) {
      if (part.nodeType === TEXT) before += Math.min(offset, textOf(part).length);
      else for (const child of Array.from(part.childNodes).slice(0, offset)) before += textOf(child).length;
      return true;
    }
    if (part.nodeType === ELEMENT && part.childNodes.length) return Array.from(part.childNodes).some(visit);
    before += textOf(part).length;
    return false;
  };
  return visit(root) ? before : null;
}

/** @param {Part} part @param {Part} node @returns {boolean} */
function contains(part, node) {
  return part === node || Array.from(part.childNodes ?? []).some((child) => contains(child, node));
}

/**
 * @param {Part} root The editor, whose children are text nodes, chips and the last line break.
 * @param {number} offset In the plain text; inside of a chip it means its end.
 * @returns {{node: any, offset: number}} As a Range has it, in a text node where one is near.
 */
export function placeAt(root, offset) {
  let before = 0;
  const children = Array.from(root.childNodes);
  for (const [index, child] of children.entries()) {
    const { length } = textOf(child);
    if (child.nodeType === TEXT && offset <= before + length) return { node: child, offset: Math.max(offset - before, 0) };
    // before a chip or the last line break: the text node in front, if there was one, has taken the place already
    if (child.nodeType !== TEXT && offset <= before) return { node: root, offset: index };
    before += length;
    if (child.nodeType !== TEXT && offset < before) offset = before;
  }
  return { node: root, offset: children.length };
}
