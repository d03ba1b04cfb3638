// Files in the server's folders, as widgets and outputs name them.
// @ts-check

/** @typedef {{filename: string, subfolder?: string, type?: string}} StoredFile A file in one of the server's folders. */

/** A file as the server's addresses ask for it. @param {StoredFile} file */
export function queryOf(file) {
  return new URLSearchParams({ filename: file.filename, subfolder: file.subfolder ?? "", type: file.type ?? "input" });
}

/**
 * A file named in a widget of the loaders: "folder/name.png [output]".
 *
 * @param {unknown} value
 * @returns {StoredFile | null}
 */
export function storedFile(value) {
  if (typeof value !== "string" || !value) return null;
  const [, path, type] = /** @type {RegExpExecArray} */ (/^(.*?)(?: \[(input|output|temp)\])?$/s.exec(value));
  const cut = path.lastIndexOf("/");
  return { filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(cut, 0)), type: type ?? "input" };
}
