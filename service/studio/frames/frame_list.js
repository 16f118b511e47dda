/** What is known of a dataset's frames: those around the place that is looked at, and what is wrong anywhere. */

import { list } from "../page/api.js";
import { count } from "../page/format.js";

/** @typedef {import("./timeline.js").Mark} Mark */

const AROUND = 200, PAGE = 1000;
const KEPT = 5000, MOST_MARKED = 10_000;

export class FrameList {
  /** @param {Api.Dataset} dataset @param {AbortSignal} signal @param {() => void} changed */
  constructor(dataset, signal, changed) {
    this.dataset = dataset;
    this.signal = signal;
    this.changed = changed;
    /** @type {Map<number, Api.Frame>} */
    this.rows = new Map();
    /** @type {Mark[]} */
    this.marks = [];
    /** What may have more frames than are marked. */
    this.unmarked = /** @type {string[]} */ ([]);
    this.loading = false;
    this.isListed = dataset.kind === "frames";  // the pictures of source videos have no rows
  }

  /** @param {number} at */
  get(at) {
    return this.rows.get(at);
  }

  /** @param {number} at */
  markAt(at) {
    return this.marks.find((mark) => mark.at <= at && at < mark.at + (mark.count ?? 1));
  }

  /** Know the frames around this one.
   * @param {number} at */
  async near(at) {
    if (!this.isListed || this.loading || this.rows.has(at)) return;
    this.loading = true;
    try {
      const { rows } = await list(this.address, { start: String(Math.max(at - AROUND / 2, 0)), limit: AROUND }, this.signal);
      if (this.rows.size > KEPT) this.rows.clear();
      for (const row of rows) this.rows.set(row.index, row);
      this.changed();
    } catch { /* it is asked for again with the next frame */ } finally {
      this.loading = false;
    }
  }

  /** Gaps are facts of the dataset; frames that cannot be read and those of another size are listed. */
  async readMarks() {
    this.marks = this.dataset.gaps.map((gap) => ({ at: gap.after_index + 1, kind: "gap", text: `${count(gap.count)} missing` }));
    if (!this.isListed) return;
    const { unreadable_frames: unreadable, sizes } = this.dataset;
    if (unreadable) await this.mark("unreadable frames", { unreadable: true }, (row) => ({ kind: "fault", text: row.problem ?? "" }));
    if (sizes.length > 1) await this.mark("odd sizes", { odd_size: true }, (row) => ({ kind: "odd", text: `${row.width}×${row.height}` }));
    this.changed();
  }

  /** @param {string} what @param {Record<string, any>} filter @param {(row: Api.Frame) => {kind: string, text: string}} markOf */
  async mark(what, filter, markOf) {
    for (let start = 0, marked = 0; ;) {
      const { rows } = await list(this.address, { start: String(start), limit: PAGE, ...filter }, this.signal);
      for (const row of rows) this.add(row.index, markOf(row));
      this.changed();
      marked += rows.length;
      if (rows.length < PAGE) return;
      if (marked >= MOST_MARKED) return void this.unmarked.push(what);
      start = rows[rows.length - 1].index + 1;
    }
  }

  /** Frames that follow each other and are marked alike are one mark.
   * @param {number} at @param {{kind: string, text: string}} look */
  add(at, { kind, text }) {
    const last = this.marks.at(-1);
    if (last && last.kind === kind && last.text === text && last.at + (last.count ?? 1) === at) last.count = (last.count ?? 1) + 1;
    else this.marks.push({ at, kind, text });
  }

  get address() {
    return `/api/datasets/${this.dataset.id}/frames`;
  }
}
