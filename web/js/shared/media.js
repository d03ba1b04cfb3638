// What the server says of a file, which a browser cannot tell or only by reading all of it.
// @ts-check
import { api } from "../../../../scripts/api.js";
import { queryOf } from "./files.js";
import { say } from "./text.js";
import "./words.js";

/** @typedef {import("./files.js").StoredFile} StoredFile */
/** @typedef {{width: number, height: number, fps: number, num_frames: number, seconds: number, has_audio: boolean, is_image: boolean}} MediaFacts */

const AGAIN = 5000; // milliseconds until a file is asked for again that was not there

/** The answer for a file that is not there. */
export const GONE = "gone";

/** @type {Map<string, Promise<MediaFacts | "gone" | null>>} */
const asked = new Map();

/** What is said of a file that is not there. @param {StoredFile} file */
export function tellGone({ type = "input" }) {
  return say("This file is not in ComfyUI's {folder} folder: upload it again or choose another.", { folder: type });
}

/** @param {StoredFile} file @returns {Promise<MediaFacts | "gone" | null>} Null where the server says nothing. */
export function mediaOf(file) {
  const key = String(queryOf(file));
  const answer = asked.get(key) ?? ask(key);
  asked.set(key, answer);
  return answer;
}

/** @param {string} query @returns {Promise<MediaFacts | "gone" | null>} */
async function ask(query) {
  let isThere = true;
  try {
    const answer = await api.fetchApi(`/loomvideo/media?${query}`);
    if (answer.ok) return await answer.json();
    isThere = answer.status !== 404;
  } catch {
    // who asks says that it is not known
  }
  setTimeout(() => asked.delete(query), AGAIN); // the file may come later
  return isThere ? null : GONE;
}
