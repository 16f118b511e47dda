/** What is known of a dataset and of one of its frames, as tables and charts. */

import { h } from "../page/dom.js";
import { baseName, bytes, count, counted, figure, moment, span } from "../page/format.js";

/** @param {import("../frames/seeker.js").Seeker} seeker */
export function facts({ dataset, frames, at, levels }) {
  const frame = frames.get(at);
  return h("aside", { class: "side", "aria-label": "Facts" },
    h("section", null, h("h2", null, "This frame"), table([
      ["number", frame?.number],
      ["size", frame?.width ? `${frame.width}×${frame.height}` : null],
      ["format", frame?.format ? `${frame.format}${(frame.bits ?? 8) > 8 ? `, ${frame.bits} bits` : ""}` : null],
      ["bytes", frame ? bytes(frame.size) : null], ["page", frame?.page],
    ]), levels ? chart(levels, "How often each brightness is in the picture shown", "brightness of the picture shown") : h("div", { class: "chart blank" })),
    h("section", null, h("h2", null, "All frames"), table(allFrames(dataset)), measured(dataset), reasons(dataset),
      frames.unmarked.length ? h("p", { class: "quiet" }, `There are more ${frames.unmarked.join(" and ")} than are marked.`) : null));
}

/** @param {Api.Dataset} dataset @returns {[string, any][]} */
const allFrames = (dataset) => [
  [dataset.kind === "video" ? "pictures" : "frames", count(dataset.frame_count)], ["bytes", bytes(dataset.bytes)],
  ["sizes", sizesOf(dataset)], ["formats", dataset.formats.join(", ")],
  ["captured", dataset.captured_from ? `${moment(dataset.captured_from)} to ${moment(dataset.captured_to)}` : null],
  ["every", dataset.cadence ? `${span(dataset.cadence.interval_seconds)}` : null],
  ["missing", dataset.gap_frames ? `${count(dataset.gap_frames)} in ${counted(dataset.gaps.length, "gap")}` : null],
  ["unreadable", dataset.unreadable_frames ? count(dataset.unreadable_frames) : null],
  ["samples", dataset.levels ? `${figure(dataset.levels.low)} to ${figure(dataset.levels.high)}, ${dataset.levels.bits} bits` : null],
  ["left out", excluded(dataset)],
];

/** How often the measured values are, where they are not those of the picture.
 * @param {Api.Dataset} dataset */
function measured({ levels }) {
  if (!levels || levels.bits <= 8) return null;
  const { low, high, shares } = levels.histogram, most = Math.max(...shares);
  return chart(shares.map((share) => Math.sqrt(share / most)), `How often the measured values from ${figure(low)} to ${figure(high)} are`, `measured values, ${figure(low)} to ${figure(high)}`);
}

/** @param {Api.Dataset} dataset */
const reasons = ({ unreadable }) => (unreadable.length
  ? h("ul", { class: "reasons" }, unreadable.map((each) => h("li", null, h("span", { class: "num" }, `${count(each.count)} `), each.reason, h("span", { class: "quiet" }, ", such as ", h("bdi", null, baseName(each.example))))))
  : null);

/** @param {[string, any][]} rows */
const table = (rows) => h("dl", { class: "table num" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", { key: name }, name), h("dd", { key: `${name} is` }, value)]));

/** @param {Api.Dataset} dataset */
const sizesOf = ({ sizes }) => sizes.slice(0, 3).map((each) => `${each.width}×${each.height}${sizes.length > 1 ? ` (${count(each.count)})` : ""}`).join(", ");

/** @param {Api.Dataset} dataset */
const excluded = (dataset) => Object.entries(dataset.excluded).map(([name, { count: number, reason }]) => `${count(number)} ${name} (${reason})`).join(", ");

/** @param {number[]} levels each from 0 to 1 @param {string} label @param {string} caption */
const chart = (levels, label, caption) => h("figure", { class: "chart", key: caption },
  h("svg", { viewBox: `0 0 ${levels.length} 20`, preserveAspectRatio: "none", role: "img", "aria-label": label }, levels.map((level, place) => h("rect", { key: place, x: place, y: 20 - level * 20, width: 1, height: level * 20 }))),
  h("figcaption", { class: "quiet" }, caption));
