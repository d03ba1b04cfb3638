// Times, bytes and errors in few characters.
// @ts-check

/** A length of time: "0.4s", "0:41", "1:02:09". @param {number} seconds At least 0. */
export function clock(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`;
  return minutes(seconds);
}

/** The same without fractions, for what counts down: "0:07". @param {number} seconds At least 0. */
export function minutes(seconds) {
  const whole = Math.round(seconds);
  const [hours, rest] = [Math.floor(whole / 3600), whole % 3600];
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(Math.floor(rest / 60))}:${two(rest % 60)}` : `${Math.floor(rest / 60)}:${two(rest % 60)}`;
}

/** Bytes in GB of 10^9, without the unit. @param {number} count */
export function gigabytes(count) {
  return (count / 1e9).toFixed(count < 99.95e9 ? 1 : 0);
}

/** The first sentence of an error, on one line. @param {string} text */
export function firstSentence(text) {
  const line = text.trim().split(/\n/)[0].replace(/\s+/g, " ");
  const end = /[.!?。！？](?=\s+[\p{Lu}\p{Lo}]|$)/u.exec(line);
  return (end ? line.slice(0, end.index) : line).trim();
}
