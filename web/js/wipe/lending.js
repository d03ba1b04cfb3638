// Things that are dear to open, shared by all who need the same one, and closed once nobody does. Pure.
// @ts-check

/**
 * @template W, T
 * @param {(what: W) => Promise<T>} open
 * @param {(thing: T) => void} close
 * @param {(what: W) => string} keyOf Equal for what is to be shared.
 * @returns {(what: W) => {thing: Promise<T>, giveBack: () => void}}
 */
export function lender(open, close, keyOf) {
  /** @type {Map<string, {thing: Promise<T>, users: number}>} */
  const lent = new Map();
  return (what) => {
    const key = keyOf(what);
    const entry = lent.get(key) ?? { thing: open(what), users: 0 };
    const forget = () => void (lent.get(key) === entry && lent.delete(key));
    if (!entry.users) {
      lent.set(key, entry);
      entry.thing.catch(forget); // who asks next tries anew
    }
    entry.users += 1;
    let isMine = true;
    const giveBack = () => {
      if (!isMine) return;
      isMine = false;
      entry.users -= 1;
      if (entry.users) return;
      forget();
      entry.thing.then(close, () => {});
    };
    return { thing: entry.thing, giveBack };
  };
}
