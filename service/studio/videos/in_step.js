/** Two renders of one dataset in step: the second shows the source frame that the first shows. */

import { get, list } from "../page/api.js";
import { h } from "../page/dom.js";
import { rateOf } from "../page/format.js";
import { readReceipt } from "./receipt.js";
import { Screen } from "./screen.js";

const LISTED = 50;
const AGAIN_MS = 2000;

export class Companion {
  /** @param {string} id of the second render @param {number} at @param {AbortSignal} signal @param {() => void} onChange */
  constructor(id, at, signal, onChange) {
    this.id = id;
    this.stop = new AbortController();
    signal.addEventListener("abort", () => this.close(), { once: true });
    this.onChange = onChange;
    this.screen = new Screen(id, at, this.stop.signal, onChange);
    /** @type {number[] | null} */ this.sources = null;
    /** @type {string | null} */ this.fault = null;
    this.load();
  }

  async load() {
    const path = `/api/videos/${this.id}`, { signal } = this.stop;
    try {
      /** @type {Api.RenderDetail} */
      const render = await get(path, { signal });
      this.screen.take(render);
      if (render.status === "succeeded") this.sources = (await readReceipt(`${path}/receipt`, signal)).byOutput.map((line) => line.source);
      else if (render.status === "queued" || render.status === "running") setTimeout(() => { if (!signal.aborted) this.load(); }, AGAIN_MS);
    } catch (error) {
      if (signal.aborted) return;
      this.fault = /** @type {Error} */ (error).message;
    }
    this.onChange();
  }

  close() {
    this.stop.abort();
    this.screen.close();
  }

  /** @param {Screen} first @param {import("./receipt.js").Line | undefined} line of the frame that it shows */
  follow(first, line) {
    const { screen } = this, mine = screen.render?.options, its = first.render?.options;
    if (!mine || !its) return;
    const frame = line && this.sources ? latest(this.sources, line.source) : first.at;
    const even = rateOf(mine.fps) === rateOf(its.fps) && screen.times.frames === first.times.frames && !mine.timing && !its.timing;
    screen.follow(Math.min(frame, screen.times.frames - 1), first.playing, even);
  }
}

/** The last place whose source is not after this one.
 * @param {number[]} sources in order @param {number} source */
function latest(sources, source) {
  let low = 0, high = sources.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (sources[middle] <= source) low = middle;
    else high = middle - 1;
  }
  return Math.max(low, 0);
}

/** The other renders of a dataset that can be seen, newest first.
 * @param {Api.VideoStatus} render @param {AbortSignal} signal @returns {Promise<Api.VideoStatus[]>} */
export async function othersOf(render, signal) {
  const { rows } = await list("/api/videos", { dataset_id: render.dataset_id, limit: LISTED }, signal);
  return rows.filter((each) => each.job_id !== render.job_id && each.status !== "failed" && each.status !== "cancelled");
}

/** What tells a render from others of its dataset.
 * @param {Api.VideoStatus} render */
export const nameOf = ({ options, created_at: made }) => `${options.codec} ${options.width}×${options.height}, ${options.timing ? "as captured" : `${options.fps}/s`}${options.crop ? ", cropped" : ""}${options.rotate ? `, ${options.rotate}°` : ""}, ${made.slice(5, 16).replace("T", " ")}`;

/** @param {Api.VideoStatus[]} others @param {string | null} chosen @param {(id: string | null) => void} onChoose */
export const companionChoice = (others, chosen, onChoose) => h("label", { class: "with", key: "with" }, "with ",
  h("select", { "aria-label": "Another render, in step", value: chosen ?? "", onchange: (/** @type {any} */ event) => onChoose(event.target.value || null) },
    h("option", { value: "", key: "" }, "the original"),
    chosen && !others.some((each) => each.job_id === chosen) ? h("option", { value: chosen, key: chosen }, `render …${chosen.slice(-8)}`) : null,
    others.map((each) => h("option", { value: each.job_id, key: each.job_id }, nameOf(each)))));
