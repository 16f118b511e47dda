/** Goes through the frames of a dataset: a small or rough picture at once, the sharp one when the hand rests. */

import { get, Problem } from "../page/api.js";
import { FrameList } from "./frame_list.js";
import { histogram } from "./picture_view.js";
import { frameAddress, isDirect, isShown, PictureCache, Thumbnails } from "./pictures.js";

/** @typedef {import("./picture_view.js").PictureView} PictureView */

const ROUGH_WIDTH = 640, SHARP_WIDTH = 1920;
const REST_MS = 160;
const PLAY_MS = 80;
const AHEAD = 3;
const KEPT_PIXELS = 64_000_000, KEPT_SHEETS = 40_000_000;

export class Seeker {
  /** `changed`: there is something new to show; `settled`: this frame is where somebody stays.
   * @param {Api.Dataset} dataset @param {{signal: AbortSignal, changed: () => void, settled: () => void}} page */
  constructor(dataset, { signal, changed, settled }) {
    this.dataset = dataset;
    this.signal = signal;
    this.changed = changed;
    this.settled = settled;
    this.frames = new FrameList(dataset, signal, changed);
    this.pictures = new PictureCache(KEPT_PIXELS);
    this.sheets = new PictureCache(KEPT_SHEETS);
    this.at = 0;
    this.fault = /** @type {string | null} */ (null);
    this.waiting = true;
    this.playing = this.plays = 0;
    this.levels = /** @type {number[] | null} */ (null);
    this.view = /** @type {PictureView | null} */ (null);
    this.thumbnails = /** @type {Thumbnails | null} */ (null);
    this.resting = 0;
    this.wanted = 0;
    this.drawn = -1;
  }

  /** Load what is known of all frames, and show one.
   * @param {number} at */
  start(at) {
    this.frames.readMarks().catch(() => {});
    if (!isDirect(this.dataset)) get(`/api/datasets/${this.dataset.id}/thumbnails`, { signal: this.signal }).then((plan) => { this.thumbnails = new Thumbnails(plan, this.sheets); }, () => {});
    this.seek(at);
  }

  /** Pictures are drawn here from now on.
   * @param {PictureView | null} view */
  attach(view) {
    this.view = view;
    const bitmap = this.drawn < 0 ? null : this.pictures.peek(this.rough(this.drawn));
    if (bitmap) view?.show(bitmap, this.sizeOf(this.drawn, bitmap));
  }

  get total() {
    return this.dataset.frame_count;
  }

  /** The address of a picture to look at in passing.
   * @param {number} frame */
  rough(frame) {
    return frameAddress(this.dataset.id, frame, isDirect(this.dataset) ? undefined : ROUGH_WIDTH);
  }

  /** @param {number} frame @param {boolean} [moving] a rough picture is enough @param {boolean} [passing] so is a small one of a frame close by */
  async seek(frame, moving = false, passing = false) {
    const step = Math.sign(frame - this.at) || 1;
    this.at = Math.min(Math.max(frame, 0), this.total - 1);
    const asked = this.wanted += 1, { at } = this;
    clearTimeout(this.resting);
    this.waiting = true;
    this.resting = setTimeout(() => this.rest(asked, at), REST_MS);
    this.changed();
    if (!moving) this.settled();
    if (passing && this.thumbnails) return this.showThumbnail(this.thumbnails, asked, at);
    if (!passing) this.frames.near(at);
    const near = Array.from({ length: AHEAD }, (_each, ahead) => at + step * (ahead + 1)).filter((each) => each >= 0 && each < this.total);
    const paths = [at, ...near].map((each) => this.rough(each));
    this.pictures.keepLoading(new Set(paths));
    const shown = await this.show(paths[0], asked, at);
    if (shown && asked === this.wanted) paths.slice(1).forEach((path) => this.pictures.get(path).catch(() => {}));
    return shown;
  }

  /** @param {Thumbnails} from @param {number} asked @param {number} at */
  async showThumbnail(from, asked, at) {
    const { sheet, part } = from.nearest(at);
    const bitmap = sheet instanceof Promise ? await sheet.catch(() => null) : sheet;
    if (!bitmap || asked !== this.wanted || !this.view) return false;
    this.view.show(bitmap, this.sizeOf(at, part), part);
    Object.assign(this, { fault: null, waiting: false });
    this.changed();
    return true;
  }

  /** Of the whole frame, whatever the size of the picture of it is.
   * @param {number} at @param {{width: number, height: number}} shown */
  sizeOf(at, shown) {
    const { width, height } = this.frames.get(at) ?? this.dataset;
    return { width: width ?? shown.width, height: height ?? shown.height };
  }

  /** The hand rests: the sharp picture, and what there is to know of the frame.
   * @param {number} asked @param {number} at */
  async rest(asked, at) {
    this.settled();
    const near = this.frames.near(at), isZoomed = (this.view?.zoom ?? 0) > 0;
    if (isZoomed) await near;
    const frame = this.frames.get(at);
    const isLarge = isZoomed && isShown(frame?.format) && (frame?.bits ?? 8) <= 8;
    const sharp = frameAddress(this.dataset.id, at, isLarge ? undefined : SHARP_WIDTH);
    if (asked === this.wanted) this.pictures.get(sharp).catch(() => {});  // while the size of the frame is read
    await near;
    await this.show(sharp, asked, at);
    const bitmap = this.pictures.peek(this.rough(at)) ?? this.pictures.peek(sharp);
    if (bitmap && asked === this.wanted) this.levels = histogram(bitmap);
    this.changed();
  }

  /** @param {string} path @param {number} asked @param {number} at */
  async show(path, asked, at) {
    try {
      const bitmap = await this.pictures.get(path);
      if (asked !== this.wanted) return false;
      this.view?.show(bitmap, this.sizeOf(at, bitmap));
      this.drawn = at;
      Object.assign(this, { fault: null, waiting: false });
    } catch (error) {
      if (asked !== this.wanted || this.signal.aborted) return false;
      if (!(error instanceof Problem)) return false;  // the browser cannot decode it: a worker says why, when the hand rests
      Object.assign(this, { fault: error.message, waiting: false, levels: null });
      if (error.status === 422 && !this.frames.markAt(at)) this.frames.marks.push({ at, kind: "fault", text: "cannot be decoded" });
    }
    this.changed();
    return this.fault === null;
  }

  /** @param {number} direction 0: stop */
  async play(direction) {
    this.playing = this.playing === direction ? 0 : direction;
    const way = this.playing, mine = this.plays += 1;
    this.changed();
    while (way && this.playing && mine === this.plays && !this.signal.aborted) {
      const next = this.at + way, begun = performance.now();
      if (next < 0 || next >= this.total) break;
      await this.seek(next, true);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, PLAY_MS - (performance.now() - begun))));
    }
    if (this.playing && mine === this.plays) { this.playing = 0; this.changed(); }
  }

  /** @param {number} by */
  step(by) {
    this.playing = 0;
    this.seek(this.at + by);
  }

  /** To the next mark, or the one before.
   * @param {number} direction */
  jump(direction) {
    const places = this.frames.marks.map((mark) => mark.at).filter((at) => (at - this.at) * direction > 0);
    if (places.length) this.seek(direction > 0 ? Math.min(...places) : Math.max(...places));
  }

  close() {
    this.playing = 0;
    clearTimeout(this.resting);
    this.pictures.close();
    this.sheets.close();
  }
}
