/** The receipt as a table: only the rows that can be seen are elements, whatever their number. */

import { to } from "../page/address.js";
import { h } from "../page/dom.js";
import { baseName, count, moment } from "../page/format.js";

/** @typedef {import("../videos/receipt.js").Line} Line */

const ROW_HEIGHT = 24;
const SPARE = 8;
const NOT_OK = "not ok";

export class ReceiptTable {
  /** @param {string} dataset @param {() => void} update @param {(frame: number) => void} onSeek */
  constructor(dataset, update, onSeek) {
    this.dataset = dataset;
    this.update = update;
    this.onSeek = onSeek;
    this.filter = NOT_OK;
    this.top = 0;
    this.rows = 12;
    /** @type {Line[]} */ this.lines = [];
    /** @type {Line[]} */ this.all = [];
    /** @type {[string, number][]} */ this.outcomes = [];
    /** @type {HTMLElement | null} */ this.box = null;
  }

  /** @param {Line[]} all */
  take(all) {
    /** @type {Map<string, number>} */
    const outcomes = new Map();
    for (const line of all) outcomes.set(line.outcome, (outcomes.get(line.outcome) ?? 0) + 1);
    this.all = all;
    this.outcomes = [...outcomes].filter(([outcome]) => outcome !== "ok");
    this.choose(NOT_OK);
  }

  /** @param {string} filter an outcome, "not ok" or "all" */
  choose(filter) {
    this.filter = filter;
    this.lines = filter === "all" ? this.all : this.all.filter((line) => (filter === NOT_OK ? line.outcome !== "ok" : line.outcome === filter));
    this.top = 0;
    if (this.box) this.box.scrollTop = 0;
    this.update();
  }

  scroll() {
    if (!this.box) return;
    const top = Math.max(Math.floor(this.box.scrollTop / ROW_HEIGHT) - SPARE, 0), rows = Math.ceil(this.box.clientHeight / ROW_HEIGHT) + 2 * SPARE;
    if (Math.abs(top - this.top) < SPARE / 2 && rows === this.rows && top !== 0) return;
    Object.assign(this, { top, rows });
    this.update();
  }

  /** Bring the line of a frame of the video into sight, if it is listed.
   * @param {number} frame */
  reveal(frame) {
    const place = this.lines.findIndex((line) => line.output === frame);
    if (!this.box || place < 0) return;
    const top = place * ROW_HEIGHT, { scrollTop, clientHeight } = this.box;
    if (top < scrollTop || top + 2 * ROW_HEIGHT > scrollTop + clientHeight) this.box.scrollTop = Math.max(top - clientHeight / 2, 0);
  }

  /** @param {string} filter @param {number} number */
  choice(filter, number) {
    return h("button", { class: "small", key: filter, "aria-pressed": String(this.filter === filter), onclick: () => this.choose(filter) }, `${filter} `, h("span", { class: "num quiet" }, count(number)));
  }

  /** @param {number} at the frame of the video that is shown */
  element(at) {
    const wrong = this.outcomes.reduce((sum, [, number]) => sum + number, 0);
    const shown = this.lines.slice(this.top, this.top + this.rows), below = this.lines.length - this.top - shown.length;
    return h("section", { class: "receipt", key: "receipt", "aria-label": "Receipt" },
      h("div", { class: "buttons" }, h("h2", null, "Receipt"), this.choice(NOT_OK, wrong), this.outcomes.length > 1 ? this.outcomes.map(([outcome, number]) => this.choice(outcome, number)) : null, this.choice("all", this.all.length)),
      this.lines.length ? h("div", { class: "scroll", key: "scroll", tabindex: 0, role: "region", "aria-label": "Lines of the receipt", onscroll: () => this.scroll(), mount: (/** @type {HTMLElement} */ box) => { this.box = box; this.scroll(); return () => { this.box = null; }; } },
        h("table", { class: "faults num", "aria-rowcount": this.lines.length + 1 },
          h("thead", null, h("tr", null, ["frame", "fate", "source", "name", "captured", "reason"].map((name) => h("th", { key: name, scope: "col" }, name)))),
          h("tbody", null, space(this.top, "above"), shown.map((line, place) => this.row(line, this.top + place, at)), space(below, "below"))))
        : h("p", { class: "quiet" }, "Every frame is as it was captured."));
  }

  /** @param {Line} line @param {number} place @param {number} at */
  row(line, place, at) {
    const { output, source, outcome, key } = line;
    return h("tr", { key: place, "aria-rowindex": place + 2, "aria-current": output !== null && output === at ? "true" : null },
      h("td", null, output === null ? h("span", { class: "quiet" }, "none") : h("button", { "aria-label": `To frame ${output}`, onclick: () => this.onSeek(output) }, count(output))),
      h("td", { class: outcome === "ok" ? "" : "bad" }, outcome),
      h("td", null, h("a", { href: to.dataset(this.dataset, source) }, count(source))),
      h("td", null, key ? h("bdi", null, baseName(key)) : ""), h("td", null, line.captured_at ? moment(line.captured_at) : ""), h("td", { class: "quiet", title: line.reason }, line.reason));
  }
}

/** Room for the rows that are not there.
 * @param {number} rows @param {string} key */
const space = (rows, key) => (rows > 0 ? h("tr", { key, class: "space", "aria-hidden": "true", style: { "--high": `${rows * ROW_HEIGHT}px` } }, h("td", { colspan: 6 })) : null);
