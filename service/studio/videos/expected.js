/** The picture that a render should have of a frame, by its own options, made by the stages of a render. */

import { isAbort, sendPatiently } from "../page/api.js";

const REST_MS = 150;
const TRIES = 30;
// As the status of a render says them, and the request for a preview takes them.
const SAME = ["codec", "width", "height", "changed", "corrupt", "mismatch", "background", "rotate", "deinterlace"];
// Of a request; the others are those of a preview. A grid is asked for anew: each panel has a tone of its own.
const NOT_OF_PICTURES = new Set(["experiment_id", "dataset_id", "quality", "effort", "device", "priority", "keep_days", "container", "outputs", "dry_run"]);

/**
 * Gaps are not counted: a position is the index of a frame in its dataset.
 * @param {Api.VideoStatus & {request: any}} render @param {import("./receipt.js").Line} line @param {import("./receipt.js").Line} [first] of the video
 */
export function previewOf({ options, request }, line, first) {
  if (options.grid) return { index: line.source, body: Object.fromEntries(Object.entries(request).filter(([name]) => !NOT_OF_PICTURES.has(name))) };
  const { tone, overlay, bins, crop } = options, source = line.substituted_from ?? line.source;
  const begin = bins ? source : Math.min(first?.source ?? source, source);
  return {
    index: source,
    body: {
      ...Object.fromEntries(SAME.filter((name) => options[name] !== null && options[name] !== undefined).map((name) => [name, options[name]])),
      gaps: "none",
      ...(crop ? { crop: { x: crop.x, y: crop.y, width: crop.width, height: crop.height } } : {}),
      frames: bins ? { start: begin, stop: begin + (line.members?.length ?? bins.size) } : { start: begin },
      ...(bins ? { decimation_factor: bins.size, decimation_mode: bins.mode } : {}),
      ...(tone ? { tone: { mode: "fixed", low: tone.low, high: tone.high, gamma: tone.gamma, colormap: tone.colormap, inverse: tone.inverse } } : {}),
      ...(overlay ? { overlay: overlayOf(overlay) } : {}),
    },
  };
}

const UNITS = /** @type {Record<string, string>} */ ({ "µm": "um" });

/** The scale bar is known by its label, such as "100 µm".
 * @param {any} overlay */
function overlayOf({ frame_index, captured_at, elapsed, text, position, size, bar }) {
  const [length, unit] = bar?.label.split(" ") ?? [];
  return { frame_index, captured_at, elapsed, text, position, size, scale_bar: bar ? { length: Number(length), unit: UNITS[unit] ?? unit } : null };
}

export class Expected {
  /** @param {AbortSignal} signal @param {() => void} onChange */
  constructor(signal, onChange) {
    this.onChange = onChange;
    this.wanted = "";
    this.url = "";
    this.timer = 0;
    this.stop = new AbortController();
    /** @type {string | null} */ this.fault = null;
    signal.addEventListener("abort", () => this.close(), { once: true });
  }

  /** Asked for when the hand rests; what was asked for before is given up.
   * @param {Api.VideoStatus & {request: any}} render @param {import("./receipt.js").Line} line @param {import("./receipt.js").Line} [first] of the video */
  want(render, line, first) {
    const { index, body } = previewOf(render, line, first);
    const path = `/api/datasets/${render.dataset_id}/frames/${index}/preview`, wanted = path + JSON.stringify(body);
    if (wanted === this.wanted) return;
    this.close();
    this.wanted = wanted;
    this.stop = new AbortController();
    this.timer = setTimeout(() => this.load(path, body), REST_MS);
  }

  /** @param {string} path @param {any} body */
  async load(path, body) {
    const { signal } = this.stop;
    try {
      const blob = await (await sendPatiently(path, { method: "POST", body, signal }, TRIES)).blob();
      if (signal.aborted) return;
      this.url = URL.createObjectURL(blob);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      this.fault = /** @type {Error} */ (error).message;
    }
    this.onChange();
  }

  close() {
    clearTimeout(this.timer);
    this.stop.abort();
    if (this.url) URL.revokeObjectURL(this.url);
    Object.assign(this, { url: "", fault: null, wanted: "" });
  }
}
