// Mentions of references in a prompt: where they are, which are wrong, and how they are renumbered. As in
// loom_core/mllm/prompts.py: in any case, with or without the blank, not inside a word.
// @ts-check

const MENTION = /(?<![\p{L}\p{N}_])@image\s*([0-9０-９]+)/giu;

/** @typedef {{start: number, end: number, number: number}} Mention Characters start to end of a prompt name reference `number`. */

/** @param {string} text @returns {Mention[]} In order. */
export function mentionsOf(text) {
  return [...text.matchAll(MENTION)].map((match) => ({
    start: match.index,
    end: match.index + match[0].length,
    number: Number(match[1].normalize("NFKC")), // as digits of one width
  }));
}

/** How a mention is written. @param {number} number From 1. */
export function written(number) {
  return `@Image ${number}`;
}

/** How several mentions are named in a sentence: three and more in a row as a range. @param {number[]} numbers Rising. */
export function named(numbers) {
  /** @type {number[][]} */
  const rows = [];
  for (const number of numbers) {
    if (rows.at(-1)?.at(-1) === number - 1) rows.at(-1)?.push(number);
    else rows.push([number]);
  }
  return rows.flatMap((row) => (row.length > 2 ? `${written(row[0])}–${row.at(-1)}` : row.map(written))).join(", ");
}

/**
 * What does not fit between a prompt and its references.
 *
 * @param {string} text
 * @param {number} count Number of references.
 * @returns {{without: number[], unmentioned: number[]}} Numbers that are mentioned and have no reference, and references that
 *     are never mentioned; each once, rising.
 */
export function problems(text, count) {
  const numbers = new Set(mentionsOf(text).map((mention) => mention.number));
  return {
    without: [...numbers].filter((number) => number < 1 || number > count).sort((a, b) => a - b),
    unmentioned: Array.from({ length: count }, (_, index) => index + 1).filter((number) => !numbers.has(number)),
  };
}

/**
 * The prompt after the references were put in another order, so that each mention still names the same picture.
 *
 * @param {string} text
 * @param {number[]} order `order[i]` is the old number of what is now reference i + 1. Numbers that are not in it stay.
 */
export function renumbered(text, order) {
  let made = "";
  let end = 0;
  for (const mention of mentionsOf(text)) {
    const now = order.indexOf(mention.number) + 1;
    const old = text.slice(mention.start, mention.end);
    made += text.slice(end, mention.start) + (now ? old.replace(/[0-9０-９]+$/, String(now)) : old);
    end = mention.end;
  }
  return made + text.slice(end);
}

/**
 * The prompt without the mentions of some numbers, nor the blank that stood before each.
 *
 * @param {string} text
 * @param {number[]} numbers
 */
export function withoutMentions(text, numbers) {
  let made = "";
  let end = 0;
  for (const mention of mentionsOf(text)) {
    if (!numbers.includes(mention.number)) continue;
    const before = text.slice(end, mention.start);
    const isFirst = !(made + before).trim();
    made += isFirst ? before : before.replace(/[ \t]$/, "");
    end = mention.end + (isFirst && text[mention.end] === " " ? 1 : 0);
  }
  return made + text.slice(end);
}

/**
 * The prompt with more mentions at its end.
 *
 * @param {string} text
 * @param {number[]} numbers
 */
export function withMentions(text, numbers) {
  const added = numbers.map(written).join(" ");
  return text + (added && text && !/\s$/.test(text) ? " " : "") + added;
}
