// The lines of a plan, as loom_core/planning/hosted.py writes them, by phase.
// @ts-check

/**
 * @typedef {object} Part
 * @property {string} title What a phase takes; empty for what is said of the whole.
 * @property {number | null} share Of what there is; null where the line does not say.
 * @property {string[]} lines
 */

const PHASE = /^\w+: ([\d.]+) (?:of ([\d.]+) )?GB/;

/** @param {string[]} lines @returns {Part[]} */
export function partsOf(lines) {
  /** @type {Part[]} */
  const parts = [];
  for (const line of lines) {
    const phase = PHASE.exec(line);
    const last = parts.at(-1);
    if (phase) parts.push({ title: line, share: phase[2] ? Number(phase[1]) / Number(phase[2]) : null, lines: [] });
    else if (line.startsWith("- ") && last) last.lines.push(line.slice(2));
    else parts.push({ title: "", share: null, lines: [line] });
  }
  return parts;
}
