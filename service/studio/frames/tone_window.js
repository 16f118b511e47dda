/** The window of the tone on the histogram of the sequence: two handles, moved with the pointer or the arrow keys. */

import { h } from "../page/dom.js";
import { followPointer } from "../page/drag.js";
import { counted, figure } from "../page/format.js";

/** @typedef {{low: number, high: number}} Window */
/** `kept`: the window of the options; `drawn`: that of a pointer that is still down.
 * @typedef {{levels: Api.LevelFacts, kept: Window, drawn: Window | null, fixed: boolean,
 *   onChange: (window: Window, done: boolean) => void}} Shown */

const USUAL_PERCENTS = ["0.35", "99.65"];
const FINE_STEPS = 100;
const DIGITS = 5;
const DIRECTIONS = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 });
const NAMES = { low: "Black", high: "White" };

/** Whether screens cannot show the samples as they are.
 * @param {Api.LevelFacts} levels */
const isDeep = ({ bits, dtype }) => bits > 8 || !dtype.startsWith("uint");

/** @param {Api.LevelFacts} levels @returns {Window} */
function fullRange({ bits, dtype }) {
  if (dtype.startsWith("float")) return { low: 0, high: 1 };
  return dtype.startsWith("int") ? { low: -(2 ** (bits - 1)), high: 2 ** (bits - 1) - 1 } : { low: 0, high: 2 ** bits - 1 };
}

/** @param {Api.LevelFacts} levels @param {string} text a percent */
function percentile({ percentiles, low, high }, text) {
  const known = [[0, low], ...Object.entries(percentiles).map(([percent, value]) => [Number(percent), value]), [100, high]]
    .sort(([one], [other]) => one - other);
  const percent = Math.min(Math.max(Number(text), 0), 100);
  const above = known.findIndex(([each]) => each >= percent), [to, upper] = known[above];
  const [from, lower] = known[Math.max(above - 1, 0)];
  return to === from ? upper : lower + ((upper - lower) * (percent - from)) / (to - from);
}

/** The window that the options mean, as far as the levels of the dataset say.
 * @param {Api.LevelFacts} levels @param {URLSearchParams} query @returns {Window} */
export function windowOf(levels, query) {
  const isAsked = [...query.keys()].some((name) => name.startsWith("tone."));
  const mode = query.get("tone.mode") ?? "percentile", low = query.get("tone.low"), high = query.get("tone.high");
  if (!isAsked && !isDeep(levels)) return fullRange(levels);
  if (mode === "full") return fullRange(levels);
  if (mode === "minmax") return { low: levels.low, high: levels.high };
  if (mode === "fixed") return { low: Number(low ?? levels.low), high: Number(high ?? levels.high) };
  const [usualLow, usualHigh] = USUAL_PERCENTS;
  return { low: percentile(levels, low ?? usualLow), high: percentile(levels, high ?? usualHigh) };
}

/** What lies from the left edge to the right one: the histogram, and the window where that reaches further.
 * @param {Shown} shown */
const axisOf = ({ levels: { histogram }, kept }) =>
  ({ low: Math.min(histogram.low, kept.low), high: Math.max(histogram.high, kept.high) });

/** A sample value as a request has it, apart from the other end of the window.
 * @param {Shown} shown @param {"low" | "high"} end @param {number} value @returns {Window} */
function moved({ levels, kept }, end, value) {
  const isFloat = levels.dtype.startsWith("float");
  const least = isFloat ? (levels.high - levels.low || 1) / 10_000 : 1;
  const exact = end === "low" ? Math.min(value, kept.high - least) : Math.max(value, kept.low + least);
  const rounded = (/** @type {number} */ each) => (isFloat ? Number(each.toPrecision(DIGITS)) : Math.round(each));
  return { low: rounded(kept.low), high: rounded(kept.high), [end]: rounded(exact) };
}

/** @param {Shown} shown */
export function toneWindow(shown) {
  const { levels, kept, drawn, fixed } = shown;
  const axis = axisOf(shown), now = drawn ?? kept;
  const place = (/** @type {number} */ value) => `${(100 * (value - axis.low)) / (axis.high - axis.low || 1)}%`;
  return h("section", { class: "tone", key: "tone", "aria-label": "Tone window" },
    h("div", { class: "levels", style: { "--low": place(now.low), "--high": place(now.high) } },
      bars(levels.histogram, place),
      h("div", { class: "dimmed below" }), h("div", { class: "dimmed above" }),
      handle(shown, "low", axis), handle(shown, "high", axis)),
    h("p", { class: "ends num quiet" },
      h("span", null, figure(axis.low)), h("span", null, wordsOf(levels, now, fixed)), h("span", null, figure(axis.high))));
}

/** @param {Api.HistogramFacts} histogram @param {(value: number) => string} place */
function bars({ low, high, shares }, place) {
  const most = Math.max(...shares) || 1, heights = shares.map((share) => 100 * Math.sqrt(share / most));
  const box = { viewBox: `0 0 ${shares.length} 100`, preserveAspectRatio: "none", "aria-hidden": "true" };
  return h("svg", { ...box, class: "bars", style: { "--from": place(low), "--to": place(high) } },
    heights.map((height, step) => h("rect", { key: step, x: step, y: 100 - height, width: 1, height })));
}

/** What the histogram is of, and what the window is.
 * @param {Api.LevelFacts} levels @param {Window} now @param {boolean} fixed */
function wordsOf(levels, now, fixed) {
  const depth = levels.dtype.startsWith("float") ? levels.dtype : `${levels.bits} bits`;
  const window = `${fixed ? "" : "about "}${figure(now.low)} to ${figure(now.high)}`;
  return `samples of ${counted(levels.frames, "measured frame")}, ${depth}; window ${window}`;
}

/** @param {Shown} shown @param {"low" | "high"} end @param {Window} axis */
function handle(shown, end, axis) {
  const { levels, kept, drawn, onChange } = shown, value = (drawn ?? kept)[end];
  const step = Math.max((axis.high - axis.low) / FINE_STEPS, levels.dtype.startsWith("float") ? 0 : 1);
  /** @param {PointerEvent} event */
  const press = (event) => {
    const element = /** @type {HTMLElement} */ (event.currentTarget);
    const bounds = /** @type {HTMLElement} */ (element.parentElement).getBoundingClientRect();
    followPointer(event, (each, done) => {
      const share = Math.min(Math.max((each.clientX - bounds.left) / bounds.width, 0), 1);
      onChange(moved(shown, end, axis.low + share * (axis.high - axis.low)), done);
    });
  };
  /** @param {KeyboardEvent} event */
  const key = (event) => {
    const direction = DIRECTIONS[event.key], edge = { Home: levels.low, End: levels.high }[event.key];
    if (direction === undefined && edge === undefined) return;
    event.preventDefault();
    onChange(moved(shown, end, edge ?? value + direction * step * (event.shiftKey ? 10 : 1)), true);
  };
  return h("div", {
    class: `handle ${end}`, key: end, role: "slider", tabindex: 0, "aria-label": NAMES[end], title: `${NAMES[end]}: ${figure(value)}`,
    "aria-valuemin": axis.low, "aria-valuemax": axis.high, "aria-valuenow": value, "aria-valuetext": `sample value ${figure(value)}`,
    onpointerdown: press, onkeydown: key,
  });
}
