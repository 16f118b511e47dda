/** Follow the pointer from where it was pressed until it is let go, or taken away.
 * @param {PointerEvent} event that pressed it, on the element that has the handler
 * @param {(each: PointerEvent, done: boolean) => void} onMove */
export function followPointer(event, onMove) {
  const element = /** @type {HTMLElement} */ (event.currentTarget), stop = new AbortController(), { signal } = stop;
  let last = event;
  const move = (/** @type {PointerEvent} */ each) => { last = each; onMove(each, false); };
  const drop = (/** @type {PointerEvent} */ each) => { stop.abort(); onMove(each.type === "pointerup" ? each : last, true); };
  element.setPointerCapture(event.pointerId);
  element.addEventListener("pointermove", move, { signal });
  for (const end of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) element.addEventListener(end, drop, { signal });
}
