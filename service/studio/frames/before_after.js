/** The original with the crop drawn on it, and the picture that the render will have: side by side, or one over the other. */

import { h } from "../page/dom.js";
import { cropEditor, placeOf } from "./crop.js";

/** @typedef {import("./crop.js").Box} Box */
/** `url` and `fault`: of the render's picture; `at`: the number of the frame.
 * @typedef {{at: number, original: string, frame: {width: number, height: number}, crop: Box | null, url: string, fault: string | null,
 *   waiting: boolean, size: string, wiped: boolean, onCrop: (box: Box | null, done: boolean) => void, onSize: (size: string) => void}} Compared */

/** @param {Compared} compared */
export function beforeAfter(compared) {
  const isWiped = compared.wiped && Boolean(compared.url);
  return h("div", { class: `compare ${isWiped ? "wiped" : ""}`, key: "compare" },
    before(compared, isWiped), isWiped ? null : after(compared));
}

/** @param {Compared} compared @param {boolean} isWiped */
function before({ at, original, frame, crop, url, onCrop }, isWiped) {
  const whole = { x: 0, y: 0, ...frame };
  const over = isWiped
    ? h("img", { key: "laid", class: "laid", src: url, alt: "The render's picture", style: placeOf(crop ?? whole, frame) })
    : cropEditor(crop, frame, onCrop);
  const style = { "--ratio": frame.width / frame.height };
  return h("div", { class: "pane", key: "original", style, onpointermove: isWiped ? wipe : null },
    h("div", { class: "sheet" },
      h("img", { src: original, alt: `Frame ${at} as it is stored`, draggable: "false" }), over),
    h("span", { class: "caption" }, isWiped ? "original | render" : "original: drag to crop"));
}

/** @param {Compared} compared */
function after({ frame, url, fault, waiting, size, onSize }) {
  const sized = (/** @type {any} */ event) => onSize(`${event.target.naturalWidth}×${event.target.naturalHeight}`);
  return h("div", { class: "pane", key: "preview", style: { "--ratio": frame.width / frame.height }, "aria-busy": String(waiting) },
    url && !fault ? h("img", { class: "preview", src: url, alt: "The picture that the render will have", onload: sized }) : null,
    fault ? h("p", { class: "fault", role: "alert" }, fault) : null,
    h("span", { class: "caption num" }, waiting ? "render: being made…" : `render ${size}`));
}

/** The edge between the two follows the pointer.
 * @param {PointerEvent} event */
function wipe(event) {
  const laid = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.currentTarget).querySelector(".laid"));
  if (!laid) return;
  const bounds = laid.getBoundingClientRect(), share = (event.clientX - bounds.left) / bounds.width;
  laid.style.setProperty("--wipe", `${Math.min(Math.max(100 * share, 0), 100)}%`);
}
