/** A bar of all frames, whatever their number: one is chosen with the pointer, and what is wrong is marked. */

import { h } from "../page/dom.js";
import { count } from "../page/format.js";

/** `kind`: a colour of the style sheet.
 * @typedef {{at: number, count?: number, kind: string, text?: string}} Mark */

/** Frames that follow each other and are in one state.
 * @typedef {{first: number, frames: number, state: string}} Part */

// The bar on which a button was pressed. Browsers may end the capture of a pointer that is still down.
let held = /** @type {Element | null} */ (null);

/**
 * @param {{total: number, at: number, marks: Mark[], label: string, text: string, parts?: Part[], onSeek: (frame: number, moving: boolean) => void,
 *   onHover?: (hover: {frame: number, place: number} | null) => void}} state
 */
export function timeline({ total, at, marks, label, text, parts, onSeek, onHover }) {
  /** @param {PointerEvent} event @param {boolean} moving */
  const seek = (event, moving) => onSeek(under(event).frame, moving);
  /** @param {PointerEvent} event */
  const under = (event) => {
    const box = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
    const place = (event.clientX - box.left) / box.width;
    return { frame: Math.min(Math.max(Math.floor(place * total), 0), total - 1), place };
  };
  track({ total, at, marks, parts });
  return h("div", { class: "timeline", key: "timeline", role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0, "aria-valuemax": Math.max(total - 1, 0), "aria-valuenow": at, "aria-valuetext": text,
    onpointerdown: (/** @type {any} */ event) => { held = event.currentTarget; held?.setPointerCapture(event.pointerId); seek(event, true); },
    onpointermove: (/** @type {any} */ event) => { if (held === event.currentTarget && event.buttons) seek(event, true); onHover?.(under(event)); },
    onpointerleave: () => onHover?.(null),
    onpointerup: (/** @type {any} */ event) => seek(event, false) },
    h("canvas", { class: "track", mount: watchSize }),
    h("div", { class: "ends num quiet" }, h("span", null, "0"), h("span", null, count(Math.max(total - 1, 0)))));
}

/** What each bar shows now.
 * @type {WeakMap<Element, any>} */
const shown = new WeakMap();

/** @param {any} state */
function track(state) {
  queueMicrotask(() => {
    for (const canvas of document.querySelectorAll("canvas.track")) {
      shown.set(canvas, state);
      paint(/** @type {HTMLCanvasElement} */ (canvas));
    }
  });
}

/** @param {HTMLCanvasElement} canvas */
function watchSize(canvas) {
  const observer = new ResizeObserver(() => paint(canvas));
  observer.observe(canvas);
  return () => observer.disconnect();
}

/** @param {HTMLCanvasElement} canvas */
function paint(canvas) {
  if (!shown.has(canvas)) return;
  const { total, at, marks, parts } = shown.get(canvas);
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (!width) return;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const colour = (/** @type {string} */ name) => getComputedStyle(canvas).getPropertyValue(`--${name}`);
  const place = (/** @type {number} */ frame) => (frame / Math.max(total, 1)) * width;
  context.clearRect(0, 0, width, height);
  context.fillStyle = colour("line");
  context.fillRect(0, height * 0.35, width, height * 0.3);
  for (const { first, frames, state } of parts ?? []) {
    const left = place(first), wide = Math.max(place(frames), ratio);
    context.fillStyle = colour(state === "making" ? "accent" : "soft");
    if (state === "made") context.fillRect(left, height * 0.35, wide, height * 0.3);
    else if (state === "making") context.fillRect(left, height * 0.44, wide, height * 0.12);
    else if (state === "reused") for (const top of [0.35, 0.55]) context.fillRect(left, height * top, wide, height * 0.1);
  }
  ruler(context, total, { width, height, ratio, colour: colour("soft") });
  for (const mark of marks) {
    context.fillStyle = colour(mark.kind);
    const wide = Math.max(place(mark.count ?? 1), 2 * ratio);
    if (mark.kind === "gap") wedge(context, place(mark.at), 5 * ratio, height);
    else context.fillRect(place(mark.at), mark.kind === "odd" ? height * 0.35 : height * 0.12, wide, mark.kind === "odd" ? height * 0.3 : height * 0.76);
  }
  context.fillStyle = colour("accent");
  const middle = place(at + 0.5);
  context.fillRect(Math.round(middle - ratio), 0, 2 * ratio, height);
  context.fillRect(Math.round(middle - 4 * ratio), 0, 8 * ratio, 3 * ratio);
}

/** @param {CanvasRenderingContext2D} context @param {number} total @param {{width: number, height: number, ratio: number, colour: string}} look */
function ruler(context, total, { width, height, ratio, colour }) {
  const step = [1, 5, 10, 50, 100, 500, 1000, 5000, 10_000, 50_000, 100_000].find((each) => (each / Math.max(total, 1)) * width > 14 * ratio) ?? total;
  context.fillStyle = colour;
  for (let frame = 0; frame <= total; frame += Math.max(step, 1)) context.fillRect(Math.round((frame / Math.max(total, 1)) * width), height * 0.65, ratio, height * 0.12);
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} half @param {number} height */
function wedge(context, x, half, height) {
  context.beginPath();
  context.moveTo(x, height * 0.6);
  context.lineTo(x - half, height);
  context.lineTo(x + half, height);
  context.fill();
}
