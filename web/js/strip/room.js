// How high the strip is. Pure.
// @ts-check

const HEIGHTS = [56, 92, 172]; // CSS pixels for none, one, and more references, where the list scrolls
const [HEAD, LINE, COLUMNS] = [54, 15, 42]; // CSS pixels of a card without notices, and of a line of them; letters in a line
const FEW = 2; // notices for which the heights above have room
const WIDE = /[\u2e80-\uffef]/g; // as wide as two letters

/**
 * @param {{notices: {text: string}[]}[]} cards
 * @returns {number} CSS pixels, such that the tallest card is seen whole.
 */
export function roomOf(cards) {
  return Math.max(HEIGHTS[Math.min(cards.length, HEIGHTS.length - 1)], tallest(cards));
}

/** The height of the tallest card of more than a few notices; 0 where there is none. @param {{notices: {text: string}[]}[]} cards */
export function tallest(cards) {
  const tall = cards.filter(({ notices }) => notices.length > FEW);
  return Math.max(0, ...tall.map(({ notices }) => HEAD + LINE * linesOf(notices)));
}

/** @param {{text: string}[]} notices */
function linesOf(notices) {
  return notices.reduce((sum, { text }) => sum + Math.ceil(text.replace(WIDE, "$&$&").length / COLUMNS), 0);
}
