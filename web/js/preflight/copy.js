// The clipboard, also on pages that came without https, where browsers withhold it.
// @ts-check

/**
 * @param {string} text
 * @param {HTMLElement} within An element that can have the focus now, such as an open dialog.
 * @returns {Promise<boolean>} Whether it was copied.
 */
export async function copy(text, within) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const field = document.createElement("textarea");
    field.value = text;
    field.readOnly = true;
    field.className = "loom-away";
    within.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    before?.focus();
    return isDone;
  }
}
