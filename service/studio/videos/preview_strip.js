/** The preview strip of a render: which part of its sheet belongs to which time. */

import { h } from "../page/dom.js";

/** @typedef {{until: number, left: number, top: number, width: number, height: number}} Tile */

/** @param {string} vtt @returns {Tile[]} */
export function parseStrip(vtt) {
  return [...vtt.matchAll(/--> (\d+):(\d+):([\d.]+)\s+\S+#xywh=(\d+),(\d+),(\d+),(\d+)/g)].map((found) => {
    const [hours, minutes, seconds, left, top, width, height] = found.slice(1).map(Number);
    return { until: hours * 3600 + minutes * 60 + seconds, left, top, width, height };
  });
}

/** The small picture of a time, above a place of a bar.
 * @param {Tile[]} tiles @param {string} sheet @param {number} seconds @param {number} place 0 to 1 */
export function stripAt(tiles, sheet, seconds, place) {
  const tile = tiles.find((each) => seconds < each.until) ?? tiles.at(-1);
  if (!tile) return null;
  const px = (/** @type {number} */ number) => `${number}px`;
  return h("div", { class: "strip", key: "strip", "aria-hidden": "true" }, h("span", { style: { "--place": place, "--wide": px(tile.width), "--high": px(tile.height), "--left": px(-tile.left), "--top": px(-tile.top) } }, h("img", { src: sheet, alt: "" })));
}
