// How many references a slot gives, and which numbers they have. As nodes/references.py counts them: each picture of a slot is
// a reference of its own, unless a slot is one reference of many frames.
// @ts-check

/**
 * @typedef {object} Numbers Of the references in one slot, from 1.
 * @property {number} first
 * @property {number | null} last Before the first for a slot that gives none; null where only a run can tell.
 */

/**
 * @param {object} known
 * @param {boolean} known.isOff Nothing comes in a run, so that the slot is empty.
 * @param {boolean | null} known.isMany Each slot is one reference of many frames; null where only a run can tell.
 * @param {number | null} known.pictures In the file that is loaded.
 * @param {number | null} known.ran References in the last run, if nothing has changed since.
 * @returns {number | null} References in the slot; null where only a run can tell.
 */
export function countOf({ isOff, isMany, pictures, ran }) {
  if (isOff) return 0;
  if (isMany) return 1;
  return ran ?? (isMany === null && pictures !== 1 ? null : pictures); // one picture is one reference either way
}

/**
 * The numbers in each slot.
 *
 * @param {(number | null)[]} counts References in each slot; where that is not known, there is one at least.
 * @returns {(Numbers | null)[]} null for all behind a slot of unknown count.
 */
export function numbersOf(counts) {
  let before = 0;
  let isKnown = true;
  return counts.map((count) => {
    if (!isKnown) return null;
    isKnown = count !== null;
    const first = before + 1;
    before += count ?? 0;
    return { first, last: count === null ? null : before };
  });
}

/** All numbers of a slot that are known. @param {Numbers | null} numbers */
export function listed(numbers) {
  if (!numbers) return [];
  const { first, last } = numbers;
  return Array.from({ length: (last ?? first) - first + 1 }, (_, index) => first + index);
}
