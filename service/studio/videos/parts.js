/** What there is of a render, in words, beside the colours of the bar. */

import { h } from "../page/dom.js";
import { count } from "../page/format.js";

const WORDS = { reused: "reused", made: "made", making: "being made", pending: "to be made" };

/** @param {Api.RenderPart[]} parts */
export function partsLegend(parts) {
  const frames = Object.keys(WORDS).map((state) => /** @type {[keyof typeof WORDS, number]} */ ([state, parts.reduce((sum, part) => sum + (part.state === state ? part.frames : 0), 0)]));
  return h("p", { class: "legend num quiet", key: "legend" }, frames.filter(([, number]) => number).map(([state, number]) => h("span", { class: `amount ${state}`, key: state }, `${count(number)} ${WORDS[state]}`)));
}
