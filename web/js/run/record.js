// What is known of one queued prompt, from the server's messages, and how it looks from a sampler. Pure.
// @ts-check
import { PHASES, rolesFor, samplersOf } from "./roles.js";

/** @typedef {import("./roles.js").Phase} Phase */
/** @typedef {import("./roles.js").Prompt} Prompt */
/** @typedef {import("../shared/files.js").StoredFile} StoredFile */
/** @typedef {{of: "gpu" | "process", predicted: number | null, used: number | null, free: number | null}} Memory In bytes. */
/** @typedef {{target: number, references: number, context: number | null, total: number}} Tokens */
/**
 * What a node of ours tells, see nodes/adapter/run_state.py.
 * @typedef {{node: string, prompt_id: string, phase: Phase, step: number | null, steps: number | null,
 *   seconds_left: number | null, tokens: Tokens | null, branches: string[] | null, memory: Memory | null,
 *   guidance_scale: number | null, visual_guidance_scale: number | null, notice: string}} Report
 */
/** @typedef {{node: string, phase: Phase | null, from: number}} Span A node works from some millisecond on. */
/** @typedef {"waiting" | "running" | "done" | "failed" | "cancelled"} Status */
/** @typedef {"todo" | "current" | "done" | "kept" | "stopped"} Mark "kept": nothing had to be done again. */
/**
 * A run as one sampler's panel shows it. Times are in milliseconds.
 * @typedef {{status: Status, phase: Phase | null, node: string | null, marks: Record<Phase, {mark: Mark, took: number | null}>,
 *   part: {done: number, of: number} | null, left: number | null, took: number | null, report: Report | null,
 *   ran: string[], error: string}} View
 */

/**
 * How a run ended, by the history.
 *
 * @param {any} status Of a prompt.
 * @returns {{outcome: "done" | "failed" | "cancelled", node: string, text: string} | null} Null where the history has nothing.
 */
export function endOf(status) {
  if (!status) return null;
  const none = { node: "", text: "" };
  if (status.status_str === "success") return { outcome: "done", ...none };
  // a branch that a node closed on purpose is told of as an error, too
  const isEnd = (/** @type {any} */ [kind, told]) => /error|interrupted/.test(kind) && told?.exception_type !== "ExecutionBlocked";
  const [kind, told] = status.messages?.findLast(isEnd) ?? ["execution_interrupted", none];
  const at = { node: String(told.node_id ?? ""), text: told.exception_message ?? "" };
  return { outcome: /error/.test(kind) ? "failed" : "cancelled", ...at };
}

/** One prompt from its start to its end. */
export class Run {
  /** @param {string} id Of the prompt. @param {number | null} from When it began; null if that was not seen. */
  constructor(id, from) {
    this.id = id;
    this.from = from;
    /** @type {number | null} */
    this.until = null;
    /** @type {"done" | "failed" | "cancelled" | null} */
    this.outcome = null;
    this.error = { node: "", text: "" };
    /** @type {Prompt | null} Null until it is known. */
    this.prompt = null;
    /** Whether it is known what is in it and where it was queued, or why it cannot be. */
    this.isLearnt = false;
    /** Whether another page queued it. */
    this.isForeign = false;
    /** Whether it may have given what this page has not heard of. */
    this.isBehind = from === null;
    /** @type {any} The open workflow that it was queued from, while that is known; else its path, else its id, which others may share. */
    this.tab = null;
    /** @type {string | null} */
    this.path = null;
    /** @type {string | null} */
    this.workflow = null;
    /** @type {Map<string, {files: StoredFile[], tab: any}>} What each node gave, and the workflow that was on the canvas then. */
    this.given = new Map();
    /** @type {Span[]} */
    this.spans = [];
    /** @type {Map<string, {done: number, of: number}>} */
    this.parts = new Map();
    /** @type {Map<string, Report>} The newest of each node. */
    this.reports = new Map();
    /** @type {Map<string, Set<string>>} Branches that each node has run. */
    this.ran = new Map();
    /** @type {Set<string>} */
    this.running = new Set();
  }

  /** The samplers in it. @returns {string[]} */
  get samplers() {
    if (this.prompt) return samplersOf(this.prompt);
    return [...this.reports.values()].filter((report) => report.phase === "denoise").map((report) => report.node);
  }

  /**
   * Whether it was queued from a workflow; one that its path names is remembered.
   *
   * @param {{tab: any, id: string | null}} workflow The open one, and its id.
   */
  isOf({ tab, id }) {
    if (!this.isLearnt || this.isForeign) return false;
    if (this.tab) return this.tab === tab;
    if (this.path) {
      if (this.path !== tab?.path) return false;
      this.tab = tab; // from now on it may be called otherwise
      return true;
    }
    return !this.workflow || !id || this.workflow === id;
  }

  /**
   * ComfyUI's executed: what a node has to show.
   *
   * @param {string} node
   * @param {StoredFile[]} files
   * @param {{isMore?: boolean, tab?: any}} [how] Whether they come beside those before, and the workflow that is on the canvas.
   */
  gave(node, files, { isMore = false, tab = null } = {}) {
    const before = isMore ? this.given.get(node)?.files ?? [] : [];
    this.given.set(node, { files: [...before, ...files], tab });
  }

  /** ComfyUI's progress_state. @param {Record<string, any>} nodes By id. @param {number} now */
  progress(nodes, now) {
    if (this.outcome) return;
    const running = new Set();
    let fresh = null;
    for (const [key, node] of Object.entries(nodes)) {
      const id = String(node.display_node_id ?? node.node_id ?? key);
      if (node.state !== "running") continue;
      running.add(id);
      this.parts.set(id, { done: Number(node.value), of: Number(node.max) });
      if (!this.running.has(id)) fresh = id;
    }
    const last = this.spans.at(-1)?.node;
    // between two nodes none runs; the time counts for the one before
    const next = fresh ?? (last !== undefined && running.has(last) ? null : [...running][0] ?? null);
    if (next !== null && next !== last) this.spans.push({ node: next, phase: null, from: now });
    this.running = running;
  }

  /** A message of ours. @param {Report} report @param {number} now */
  report(report, now) {
    if (this.outcome) return;
    const last = this.spans.at(-1);
    if (last?.node !== report.node || last.phase !== report.phase)
      this.spans.push({ node: report.node, phase: report.phase, from: now });
    this.reports.set(report.node, report);
    const ran = this.ran.get(report.node) ?? new Set();
    for (const branch of report.branches ?? []) ran.add(branch);
    this.ran.set(report.node, ran);
  }

  /**
   * @param {"done" | "failed" | "cancelled"} outcome
   * @param {number} now
   * @param {{node: string, text: string}} [error] Where and why it ended; a cancel has no text.
   */
  end(outcome, now, error) {
    if (this.outcome) return;
    [this.outcome, this.until] = [outcome, now];
    if (error) this.error = error;
  }

  /** Whether anything was done for a sampler. @param {string} sampler */
  concerns(sampler) {
    const roles = this.#roles(sampler);
    return this.spans.some((span) => roles.has(span.node)) || (this.outcome !== null && this.outcome !== "done");
  }

  /** @type {Map<string, Map<string, Phase>>} */
  #known = new Map();

  /** @param {string} sampler @returns {Map<string, Phase>} */
  #roles(sampler) {
    if (!this.prompt) return new Map([[sampler, "denoise"]]);
    const roles = this.#known.get(sampler) ?? rolesFor(this.prompt, sampler);
    this.#known.set(sampler, roles);
    return roles;
  }

  /** How it looks from a sampler. @param {string} sampler Its execution id. @param {number} now @returns {View} */
  view(sampler, now) {
    const roles = this.#roles(sampler);
    const phaseOf = (/** @type {Span} */ span) => {
      const role = roles.get(span.node) ?? null;
      if (role === null || role === "decode") return role;
      // the sampler first brings the model to its device; who came later cannot know, and what fails before is no loading
      const isLoading = role === "denoise" && this.from !== null && this.outcome !== "failed";
      return span.phase ?? (isLoading ? "load" : role);
    };
    /** @type {Partial<Record<Phase, number>>} */
    const times = {};
    this.spans.forEach((span, index) => {
      const phase = phaseOf(span);
      const until = this.spans[index + 1]?.from ?? this.until ?? now;
      if (phase) times[phase] = (times[phase] ?? 0) + until - span.from;
    });
    const last = this.spans.at(-1);
    const phase = last && this.outcome !== "done" ? phaseOf(last) : null;
    const report = this.reports.get(sampler) ?? null;
    /** @type {Status} */
    const status = this.outcome ?? (phase ? "running" : "waiting");
    return {
      status,
      phase,
      node: phase && last ? last.node : null,
      marks: this.#marks(times, phase),
      part: this.#part(phase, last, report),
      left: this.#left(phase, report),
      took: this.from === null ? null : (this.until ?? now) - this.from,
      report,
      ran: [...(this.ran.get(sampler) ?? [])],
      error: this.error.text,
    };
  }

  /** @param {Partial<Record<Phase, number>>} times @param {Phase | null} now */
  #marks(times, now) {
    const reached = Math.max(-1, ...PHASES.map((phase, index) => (times[phase] === undefined ? -1 : index)));
    const each = PHASES.map((phase, index) => {
      const took = times[phase] ?? null;
      /** @type {Mark} */
      let mark = "todo";
      if (phase === now) mark = this.outcome ? "stopped" : "current";
      else if (took !== null) mark = "done";
      else if (this.outcome === "done" || index < reached) mark = this.from === null ? "done" : "kept";
      return [phase, { mark, took }];
    });
    return /** @type {Record<Phase, {mark: Mark, took: number | null}>} */ (Object.fromEntries(each));
  }

  /** @param {Phase | null} phase @param {Span | undefined} span @param {Report | null} report */
  #part(phase, span, report) {
    if (!phase || !span) return null;
    if (phase === "denoise") return report?.steps ? { done: report.step ?? 0, of: report.steps } : null;
    const part = this.parts.get(span.node);
    return phase !== "load" && part && part.of > 1 ? part : null;
  }

  /** @param {Phase | null} phase @param {Report | null} report */
  #left(phase, report) {
    return phase === "denoise" && report?.seconds_left != null ? report.seconds_left * 1000 : null;
  }
}
