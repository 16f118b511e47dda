/** One render on the screen: as a video where this browser plays it, else frame by frame, as the service decodes it. */

import { ENDED, isAbort, Problem } from "../page/api.js";
import { h } from "../page/dom.js";
import { rateOf } from "../page/format.js";
import { readTimes } from "./mp4_times.js";
import { PictureCache } from "../frames/pictures.js";
import { canPlay, canStream, FrameTimes, playStream } from "./player.js";

const KEPT_PIXELS = 40_000_000;
const AHEAD = 3;

export class Screen {
  /** @param {string} id of the render @param {number} at the frame to begin with @param {AbortSignal} signal @param {() => void} onChange */
  constructor(id, at, signal, onChange) {
    this.id = id;
    this.signal = signal;
    this.onChange = onChange;
    this.at = this.opened = at;
    this.shown = -1;  // the frame whose picture is there, which may be one of before
    this.playing = false;
    /** @type {"" | "file" | "stream" | "stills" | "none"} */
    this.mode = "";
    /** @type {string | null} */
    this.note = null;
    this.buffered = 0;
    this.times = new FrameTimes(1, 30);
    this.pictures = new PictureCache(KEPT_PIXELS);
    this.wanted = 0;
    this.loading = false;
    /** @type {Api.VideoStatus | null} */ this.render = null;
    /** @type {HTMLVideoElement | null} */ this.video = null;
    /** @type {HTMLCanvasElement | null} */ this.canvas = null;
  }

  close() {
    this.playing = false;
    this.pictures.close();
  }

  /** What there is of the render now.
   * @param {Api.VideoStatus} render */
  take(render) {
    const before = this.render?.status;
    this.render = render;
    this.times.frames = render.summary?.frames ?? render.frames_total;
    this.times.rate = rateOf(render.options.fps) || 30;
    if (!this.mode) this.begin();
    else if (this.mode === "stills" && this.note && !this.loading) this.draw();
    if (render.status === "succeeded" && before !== "succeeded" && render.options.timing && render.video_url && this.mode !== "stills") {
      readTimes(render.video_url, this.signal).then((found) => { this.times.times = found; this.seek(this.opened); }, () => this.video?.dispatchEvent(new Event("error")));
    }
  }

  /** The finished file where this browser plays it, the stream while it is made, otherwise its frames one by one. */
  begin() {
    const render = /** @type {Api.VideoStatus} */ (this.render);
    if (render.video_url && canPlay(render.options)) this.mode = "file";
    else if (render.stream_url && render.status !== "succeeded" && canStream(render.options)) this.mode = "stream";
    else this.mode = ENDED.has(render.status) && render.status !== "succeeded" ? "none" : "stills";
    this.start();
  }

  /** Once it is known how, and the element is there. */
  start() {
    const { video, render } = this;
    if (this.mode === "stills") this.seek(this.at);
    if (!video || !render) return;
    if (this.mode === "file") {
      video.src = /** @type {string} */ (render.video_url);
      if (!render.options.timing || this.times.times) this.seek(this.opened);  // else when it is known when each frame is shown
    } else if (this.mode === "stream") {
      const seconds = render.options.timing ? null : this.times.frames / this.times.rate;
      playStream(video, { id: this.id, seconds }, (segments) => this.onSegment(segments), this.signal).catch((error) => { if (!isAbort(error)) this.say(error.message); });
    }
  }

  /** @param {string | null} note */
  say(note) {
    this.note = note;
    this.onChange();
  }

  /** @param {number} segments */
  onSegment(segments) {
    if (segments === 1) {
      if (this.opened) this.seek(this.opened);
      else this.video?.play().catch(() => {});
    }
    this.measureBuffer();
  }

  measureBuffer() {
    const { video } = this, end = video?.buffered.length ? video.buffered.end(video.buffered.length - 1) : 0;
    this.buffered = this.mode === "file" ? this.times.frames : Math.round(end * this.times.rate);
    this.onChange();
  }

  /** @param {number} frame */
  seek(frame) {
    if (!this.mode) { this.opened = this.at = Math.max(frame, 0); return; }
    const step = Math.sign(frame - this.at) || 1;
    this.at = this.opened = Math.min(Math.max(frame, 0), this.times.frames - 1);
    if (this.mode === "stills") { this.playing = false; this.draw(step); }
    else if (this.mode !== "none" && this.video) {
      this.video.pause();
      this.video.currentTime = this.times.within(this.at);
    }
    this.onChange();
  }

  play() {
    if (this.mode === "stills") {
      this.playing = !this.playing;
      if (this.playing) this.run();
      else this.onChange();
    } else if (this.video?.paused) this.video.play().catch(() => {});
    else this.video?.pause();
  }

  /** Show the frame that another screen shows, and run with it. `even`: both have the same frames at the same pace.
   * @param {number} frame @param {boolean} playing @param {boolean} even */
  follow(frame, playing, even) {
    if (!this.mode) { this.opened = this.at = frame; return; }
    if (playing && even && this.mode !== "stills" && this.video) {
      if (this.video.paused) this.video.play().catch(() => {});
      if (Math.abs(this.times.at(this.video.currentTime) - frame) > 2) this.video.currentTime = this.times.within(frame);
      return;
    }
    const busy = playing && (this.loading || this.video?.seeking);
    if (!busy && (frame !== this.at || this.playing)) this.seek(frame);
  }

  /** As fast as the video is, or as the frames come. */
  async run() {
    while (this.playing && !this.signal.aborted && this.at < this.times.frames - 1) {
      const begun = performance.now();
      this.at += 1;
      if (!await this.draw()) break;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / this.times.rate - (performance.now() - begun))));
    }
    this.playing = false;
    this.onChange();
  }

  /** @param {number} frame */
  address(frame) {
    return `/api/videos/${this.id}/frames/${frame}/image`;
  }

  /** The exact picture of the frame; those after it are fetched ahead.
   * @param {number} [step] @returns {Promise<boolean>} whether it is shown */
  async draw(step = 1) {
    const asked = ++this.wanted, { at } = this;
    const near = Array.from({ length: AHEAD }, (_each, ahead) => at + step * (ahead + 1)).filter((each) => each >= 0 && each < this.times.frames);
    const paths = [at, ...near].map((frame) => this.address(frame));
    this.pictures.keepLoading(new Set(paths));
    this.loading = true;
    try {
      const bitmap = await this.pictures.get(paths[0]);
      if (asked !== this.wanted) return false;
      this.paint(bitmap);
      Object.assign(this, { shown: at, note: null, loading: false });
      paths.slice(1).forEach((path) => this.pictures.get(path).catch(() => {}));
    } catch (error) {
      if (asked !== this.wanted || this.signal.aborted) return false;
      Object.assign(this, { note: error instanceof Problem ? error.message : "This browser cannot show the frame.", loading: false });
    }
    this.onChange();
    return this.note === null;
  }

  /** @param {ImageBitmap} bitmap */
  paint(bitmap) {
    const { canvas } = this;
    if (!canvas || !bitmap.width) return;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  }

  /** @param {HTMLVideoElement} element */
  attach(element) {
    this.video = element;
    const shown = (/** @type {number} */ _now, /** @type {{mediaTime: number}} */ facts) => {
      this.shown = this.times.at(facts.mediaTime);
      if (!element.seeking) this.at = this.shown;  // else it is a picture of before
      this.onChange();
      element.requestVideoFrameCallback(shown);
    };
    element.requestVideoFrameCallback(shown);
    for (const name of ["play", "pause", "ended"]) element.addEventListener(name, () => { this.playing = !element.paused; this.onChange(); });
    for (const name of ["progress", "loadeddata"]) element.addEventListener(name, () => this.measureBuffer());
    element.addEventListener("seeked", () => { this.shown = this.at = this.times.at(element.currentTime); this.onChange(); });  // a busy browser may drop the callback
    element.addEventListener("error", () => { if (this.mode === "file") { this.mode = "stills"; this.seek(this.opened); } });
    if (this.render) this.start();
    return () => { element.removeAttribute("src"); element.load(); this.video = null; };
  }

  /** @param {HTMLCanvasElement} element */
  attachStill(element) {
    this.canvas = element;
    if (this.shown >= 0) this.draw();
    return () => { this.canvas = null; };
  }

  /** @param {string} label */
  element(label) {
    if (this.mode === "stills") return h("canvas", { key: "still", class: "still", role: "img", "aria-label": `${label}, frame ${this.at}`, mount: (/** @type {HTMLCanvasElement} */ element) => this.attachStill(element) });
    return h("video", { key: "video", mount: (/** @type {HTMLVideoElement} */ element) => this.attach(element), muted: true, playsinline: true, preload: "auto", poster: this.render?.poster_url, "aria-label": label, onclick: () => this.play() });
  }
}
