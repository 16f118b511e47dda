/** Pictures of frames: fetched so that their refusals can be read, kept while they are likely to be seen again. */

import { isAbort, picture } from "../page/api.js";
import { h } from "../page/dom.js";

const POSTER_WIDTH = 480;
const SHOWN_BY_BROWSERS = new Set(["jpeg", "png", "webp"]);
const MOST_SHEETS = 20;
const DIRECT_BYTES = 400_000, DIRECT_PIXELS = 4_000_000;

/** Whether frames are shown as they are stored, because browsers show them and they are small: no worker has to make anything.
 * @param {Api.Dataset} dataset */
export const isDirect = ({ kind, formats, levels, bytes, frame_count: total, width, height }) =>
  kind === "frames" && !levels && bytes / total < DIRECT_BYTES && width !== null && height !== null && width * height < DIRECT_PIXELS && formats.every(isShown);

/** Whether browsers show pictures of this format.
 * @param {string | null | undefined} format */
export const isShown = (format) => SHOWN_BY_BROWSERS.has(format ?? "");

/** @param {string} dataset @param {number} index @param {number} [width] unset: as it is stored */
export const frameAddress = (dataset, index, width) => `/api/datasets/${dataset}/frames/${index}/image${width ? `?width=${width}` : ""}`;

/** The picture in the middle of a dataset.
 * @param {Api.Dataset} dataset */
export function poster(dataset) {
  const middle = Math.floor(dataset.frame_count / 2);
  return h("span", { class: "poster", key: `poster ${dataset.id}`, mount: (/** @type {HTMLElement} */ element) => showIn(element, frameAddress(dataset.id, middle, isDirect(dataset) ? undefined : POSTER_WIDTH)) });
}

/** Load a picture into an element; a worker may have to make it first.
 * @param {HTMLElement} element @param {string} path @returns {() => void} */
function showIn(element, path) {
  const stop = new AbortController();
  let url = "";
  element.classList.add("waiting");
  picture(path, stop.signal).then((blob) => {
    const image = new Image();
    url = URL.createObjectURL(blob);
    image.alt = "";
    image.decoding = "async";
    image.src = url;
    element.replaceChildren(image);
  }, (error) => {
    if (isAbort(error)) return;
    element.classList.add("broken");
    element.title = error.message;
  }).finally(() => element.classList.remove("waiting"));
  return () => { stop.abort(); if (url) URL.revokeObjectURL(url); };
}

/** Decoded pictures by address: the newest, of so many pixels together. One that is not needed any more is not waited for. */
export class PictureCache {
  /** @param {number} pixels four bytes each */
  constructor(pixels) {
    this.pixels = pixels;
    this.used = 0;
    /** @type {Map<string, {bitmap: ImageBitmap | null, stop: AbortController, loading: Promise<ImageBitmap>}>} */
    this.kept = new Map();
  }

  /** @param {string} path @returns {ImageBitmap | null} */
  peek(path) {
    return this.kept.get(path)?.bitmap ?? null;
  }

  /** @param {string} path @returns {Promise<ImageBitmap>} */
  get(path) {
    let entry = this.kept.get(path);
    if (entry) this.kept.delete(path);
    else {
      const stop = new AbortController();
      /** @type {any} */
      const made = { bitmap: null, stop };
      made.loading = picture(path, stop.signal).then(createImageBitmap).then((bitmap) => {
        if (stop.signal.aborted) bitmap.close();
        else this.keep(made, bitmap);
        return bitmap;
      });
      made.loading.catch(() => { if (this.kept.get(path) === made) this.kept.delete(path); });
      entry = made;
    }
    this.kept.set(path, /** @type {any} */ (entry));
    return /** @type {any} */ (entry).loading;
  }

  /** The oldest make room; the two newest are on the screen.
   * @param {any} entry @param {ImageBitmap} bitmap */
  keep(entry, bitmap) {
    entry.bitmap = bitmap;
    this.used += bitmap.width * bitmap.height;
    for (const path of [...this.kept.keys()].slice(0, -2)) if (this.used > this.pixels) this.drop(path);
  }

  /** Give up what still loads, but for these.
   * @param {Set<string>} wanted */
  keepLoading(wanted) {
    for (const [path, entry] of this.kept) if (!entry.bitmap && !wanted.has(path)) this.drop(path);
  }

  /** @param {string} path */
  drop(path) {
    const entry = this.kept.get(path);
    this.kept.delete(path);
    if (entry?.bitmap) this.used -= entry.bitmap.width * entry.bitmap.height;
    entry?.stop.abort();
    entry?.bitmap?.close();
  }

  close() {
    for (const path of [...this.kept.keys()]) this.drop(path);
  }
}

/** Small pictures of all frames of a dataset, cut out of sheets, to look at while the pointer moves. */
export class Thumbnails {
  /** @param {Api.Thumbnails} plan how the service arranges them @param {PictureCache} sheets */
  constructor(plan, sheets) {
    this.plan = plan;
    this.sheets = sheets;
    this.level = /** @type {Api.ThumbnailLevel} */ (plan.levels.find((level) => level.sheets <= MOST_SHEETS) ?? plan.levels.at(-1));
  }

  /** @param {number} number */
  address(number) {
    return this.plan.url_template.replace("{level}", String(this.level.level)).replace("{number}", String(number));
  }

  /** Where the picture of a frame is, or of one close before it: on which sheet, and which part of that. It is there at once if the
   * sheet is loaded: a promise would often come too late for the frame of the browser.
   * @param {number} frame @returns {{sheet: ImageBitmap | Promise<ImageBitmap>, part: import("./picture_view.js").Part}} */
  nearest(frame) {
    const { columns, cell_width: width, cell_height: height, frames_per_sheet: cells } = this.plan;
    const cell = Math.floor(frame / this.level.stride);
    const number = Math.floor(cell / cells), place = cell % cells;
    const loading = this.sheets.get(this.address(number)), sheet = this.sheets.peek(this.address(number)) ?? loading;
    for (const beside of [number + 1, number - 1]) if (beside >= 0 && beside < this.level.sheets) this.sheets.get(this.address(beside)).catch(() => {});
    return { sheet, part: { x: (place % columns) * width, y: Math.floor(place / columns) * height, width, height } };
  }
}
