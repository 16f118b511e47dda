/** Follow the pointer from where it was pressed until it is let go.
 * @param {PointerEvent} event that pressed it, on the element that has the handler
 * @param {(each: PointerEvent, done: boolean) => void} onMove */
export function followPointer(event, onMove) {
  const element = /** @type {HTMLElement} */ (event.currentTarget);
  const move = (/** @type {PointerEvent} */ each) => onMove(each, false);
  const drop = (/** @type {PointerEvent} */ each) => { element.removeEventListener("pointermove", move); onMove(each, true); };
  element.setPointerCapture(event.pointerId);
  element.addEventListener("pointermove", move);
  element.addEventListener("pointerup", drop, { once: true });
}
