/** A picture on a canvas: fitted, or zoomed and moved to the pixel, with the values under the pointer. */

/** @typedef {{x: number, y: number, rgb: number[]}} Point */
/** Of a bitmap.
 * @typedef {{x: number, y: number, width: number, height: number}} Part */

const MAX_ZOOM = 40;
const HISTOGRAM_WIDTH = 192;

export class PictureView {
  /** `onPoint`: `pointed`, the pixel under the pointer, is another one.
   * @param {HTMLCanvasElement} canvas @param {() => void} onPoint */
  constructor(canvas, onPoint) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.onPoint = onPoint;
    this.pointed = /** @type {Point | null} */ (null);
    /** @type {ImageBitmap | null} */
    this.bitmap = null;
    this.part = { x: 0, y: 0, width: 0, height: 0 };
    // Of the whole frame, whatever the size of the picture of it is.
    this.size = { width: 0, height: 0 };
    this.zoom = 0;  // canvas pixels for each of the frame; 0: fitted
    this.centre = { x: 0.5, y: 0.5 };
    this.probe = readable(1, 1);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.point(this.pixelAt(event)));
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("dblclick", () => this.setZoom(this.zoom ? 0 : 1));
  }

  close() {
    this.observer.disconnect();
  }

  /** Show a bitmap, or a part of it.
   * @param {ImageBitmap} bitmap @param {{width: number, height: number}} size @param {Part} [part] */
  show(bitmap, size, part = { x: 0, y: 0, width: bitmap.width, height: bitmap.height }) {
    this.bitmap = bitmap;
    this.part = part;
    this.size = size;
    this.draw();
  }

  get fitted() {
    const { width, height } = this.canvas;
    return Math.min(width / (this.size.width || 1), height / (this.size.height || 1));
  }

  /** Of the frame on the canvas. */
  get box() {
    const scale = this.zoom || this.fitted;
    const width = this.size.width * scale, height = this.size.height * scale;
    const x = this.zoom ? this.canvas.width / 2 - this.centre.x * width : (this.canvas.width - width) / 2;
    const y = this.zoom ? this.canvas.height / 2 - this.centre.y * height : (this.canvas.height - height) / 2;
    return { x, y, width, height, scale };
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * ratio), height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const { context } = this;
    context.fillStyle = getComputedStyle(this.canvas).getPropertyValue("--stage");
    context.fillRect(0, 0, width, height);
    if (!this.bitmap?.width || !width) return;  // one that made room for others has no width any more
    const { x, y, width: wide, height: high } = this.box;
    const { part } = this;
    context.imageSmoothingEnabled = wide / part.width < 2;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.bitmap, part.x, part.y, part.width, part.height, Math.round(x), Math.round(y), Math.round(wide), Math.round(high));
  }

  /** @param {number} zoom 0: fitted @param {{x: number, y: number}} [at] on the canvas, stays where it is */
  setZoom(zoom, at = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    const before = this.box;
    const point = { x: (at.x - before.x) / before.width, y: (at.y - before.y) / before.height };
    this.zoom = zoom && Math.min(Math.max(zoom, this.fitted), MAX_ZOOM);
    if (this.zoom <= this.fitted) this.zoom = 0;
    const scale = this.zoom || this.fitted;
    this.centre = { x: point.x - (at.x - this.canvas.width / 2) / (this.size.width * scale), y: point.y - (at.y - this.canvas.height / 2) / (this.size.height * scale) };
    this.keepInside();
    this.draw();
  }

  keepInside() {
    this.centre.x = Math.min(Math.max(this.centre.x, 0), 1);
    this.centre.y = Math.min(Math.max(this.centre.y, 0), 1);
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.setZoom((this.zoom || this.fitted) * factor);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    this.setZoom((this.zoom || this.fitted) * 2 ** (-event.deltaY / 300), this.position(event));
  }

  /** @param {MouseEvent} event */
  position(event) {
    const ratio = this.canvas.width / this.canvas.clientWidth;
    return { x: event.offsetX * ratio, y: event.offsetY * ratio };
  }

  /** @param {PointerEvent} event */
  grab(event) {
    if (!this.zoom) return;
    this.canvas.setPointerCapture(event.pointerId);
    let last = this.position(event);
    const move = (/** @type {PointerEvent} */ next) => {
      const now = this.position(next), { width, height } = this.box;
      this.centre.x -= (now.x - last.x) / width;
      this.centre.y -= (now.y - last.y) / height;
      last = now;
      this.keepInside();
      this.draw();
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("lostpointercapture", () => this.canvas.removeEventListener("pointermove", move), { once: true });
  }

  /** @param {Point | null} pointed */
  point(pointed) {
    this.pointed = pointed;
    this.onPoint();
  }

  /** @param {PointerEvent} event @returns {Point | null} */
  pixelAt(event) {
    const at = this.position(event), box = this.box;
    const across = (at.x - box.x) / box.width, down = (at.y - box.y) / box.height;
    if (!this.bitmap?.width || across < 0 || down < 0 || across >= 1 || down >= 1) return null;
    const left = this.part.x + Math.floor(across * this.part.width), top = this.part.y + Math.floor(down * this.part.height);
    this.probe.drawImage(this.bitmap, left, top, 1, 1, 0, 0, 1, 1);
    const rgb = [...this.probe.getImageData(0, 0, 1, 1).data.slice(0, 3)];
    return { x: Math.floor(across * this.size.width), y: Math.floor(down * this.size.height), rgb };
  }
}

/** A canvas whose pixels are read.
 * @param {number} width @param {number} height */
function readable(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
}

/** How often each of 64 levels is in a picture, 0 to 1.
 * @param {ImageBitmap} bitmap */
export function histogram(bitmap) {
  const width = Math.min(HISTOGRAM_WIDTH, bitmap.width), height = Math.max(1, Math.round((bitmap.height * width) / bitmap.width));
  const context = readable(width, height);
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const levels = new Array(64).fill(0);
  for (let at = 0; at < data.length; at += 4) levels[(data[at] * 54 + data[at + 1] * 183 + data[at + 2] * 19) >> 10] += 1;
  const most = Math.max(...levels);
  return levels.map((number) => Math.sqrt(number / most));
}
