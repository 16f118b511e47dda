/** A region drawn on a picture, with the pointer or the arrow keys, in pixels of the whole frame. */

import { h } from "../page/dom.js";
import { followPointer } from "../page/drag.js";

/** @typedef {{x: number, y: number, width: number, height: number}} Box */

const CORNERS = /** @type {[string, number, number][]} */ ([["nw", 0, 0], ["ne", 1, 0], ["sw", 0, 1], ["se", 1, 1]]);
/** @type {Record<string, [number, number]>} */
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SMALLEST = 2;

/** @param {number} value @param {number} low @param {number} high */
const within = (value, low, high) => Math.min(Math.max(Math.round(value), low), high);

/** @param {{x: number, y: number}} from @param {{x: number, y: number}} to @returns {Box} */
const between = (from, to) => ({
  x: Math.min(from.x, to.x), y: Math.min(from.y, to.y), width: Math.abs(to.x - from.x), height: Math.abs(to.y - from.y),
});

/** Where a region is in the frame, as custom properties.
 * @param {Box} box @param {{width: number, height: number}} frame */
export const placeOf = (box, frame) => ({
  "--left": `${(100 * box.x) / frame.width}%`, "--top": `${(100 * box.y) / frame.height}%`,
  "--wide": `${(100 * box.width) / frame.width}%`, "--high": `${(100 * box.height) / frame.height}%`,
});

/** Lies over the picture of the frame.
 * @param {Box | null} crop @param {{width: number, height: number}} frame @param {(box: Box | null, done: boolean) => void} onChange */
export function cropEditor(crop, frame, onChange) {
  const box = crop ?? { x: 0, y: 0, ...frame };
  /** @param {PointerEvent} event */
  const press = (event) => {
    const area = /** @type {HTMLElement} */ (event.currentTarget), bounds = area.getBoundingClientRect();
    const at = (/** @type {PointerEvent} */ each) => ({
      x: within(((each.clientX - bounds.left) / bounds.width) * frame.width, 0, frame.width),
      y: within(((each.clientY - bounds.top) / bounds.height) * frame.height, 0, frame.height),
    });
    const corner = CORNERS.find(([name]) => name === /** @type {HTMLElement} */ (event.target).dataset.corner);
    const from = corner ? { x: box.x + (1 - corner[1]) * box.width, y: box.y + (1 - corner[2]) * box.height } : at(event);
    let last = /** @type {Box | null} */ (null);
    followPointer(event, (each, done) => {
      const drawn = between(from, at(each)), isSized = drawn.width >= SMALLEST && drawn.height >= SMALLEST;
      if (isSized) last = drawn;
      if (isSized || done) onChange(last, done);
    });
  };
  /** Arrows move it; with Shift they move its far corner.
   * @param {KeyboardEvent} event */
  const key = (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const by = Math.max(1, Math.round(frame.width / 200)), [right, down] = step.map((each) => each * by);
    const sized = {
      width: within(box.width + right, SMALLEST, frame.width - box.x), height: within(box.height + down, SMALLEST, frame.height - box.y),
    };
    const placed = { x: within(box.x + right, 0, frame.width - box.width), y: within(box.y + down, 0, frame.height - box.height) };
    onChange({ ...box, ...(event.shiftKey ? sized : placed) }, true);
  };
  const words = `Crop, ${box.width} by ${box.height} at ${box.x}, ${box.y}. Arrows move it, with Shift they change its size.`;
  return h("div", { class: "crop-area", key: "crop", onpointerdown: press },
    h("div", { class: "crop", tabindex: 0, role: "group", "aria-label": words, style: placeOf(box, frame), onkeydown: key },
      CORNERS.map(([name]) => h("i", { key: name, class: name, "data-corner": name }))));
}
