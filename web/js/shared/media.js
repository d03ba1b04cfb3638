// What the server says of a file, which a browser cannot tell or only by reading all of it.
// @ts-check
import { api } from "../../../../scripts/api.js";
import { queryOf } from "./files.js";

/** @typedef {import("./files.js").StoredFile} StoredFile */
/** @typedef {{width: number, height: number, fps: number, num_frames: number, seconds: number, has_audio: boolean, is_image: boolean}} MediaFacts */

const AGAIN = 5000; // milliseconds until a file is asked for again that was not there

/** @type {Map<string, Promise<MediaFacts | null>>} */
const asked = new Map();

/** @param {StoredFile} file @returns {Promise<MediaFacts | null>} Null where the server says nothing. */
export function mediaOf(file) {
  const key = String(queryOf(file));
  const answer = asked.get(key) ?? ask(key);
  asked.set(key, answer);
  return answer;
}

/** @param {string} query @returns {Promise<MediaFacts | null>} */
async function ask(query) {
  try {
    const answer = await api.fetchApi(`/loomvideo/media?${query}`);
    if (answer.ok) return await answer.json();
  } catch {
    // who asks says that it is not known
  }
  setTimeout(() => asked.delete(query), AGAIN); // the file may come later
  return null;
}
