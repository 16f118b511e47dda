/** Options that this browser keeps by name, to be applied to any dataset. */

import { h } from "../page/dom.js";

const STORED = "reelmill recipes";
const OF_ONE_DATASET = ["frame"];

/** Queries by name.
 * @returns {Record<string, string>} */
function kept() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    return {};
  }
}

/** @param {Record<string, string>} presets */
const keep = (presets) => localStorage.setItem(STORED, JSON.stringify(presets));

/** @param {URLSearchParams} query what is composed now @param {(query: string) => void} onApply @param {() => void} update */
export function presets(query, onApply, update) {
  const all = kept();
  /** @param {any} event */
  const add = (event) => {
    event.preventDefault();
    const name = event.target.elements.recipe.value.trim(), options = new URLSearchParams(query);
    for (const each of OF_ONE_DATASET) options.delete(each);
    if (name) keep({ ...all, [name]: options.toString() });
    event.target.reset();
    update();
  };
  const remove = (/** @type {string} */ name) => {
    const { [name]: _gone, ...rest } = all;
    keep(rest);
    update();
  };
  return h("div", { key: "presets", class: "presets" },
    h("form", { class: "buttons tight", onsubmit: add },
      h("input", { id: "recipe", "aria-label": "Name of these options", placeholder: "Name of these options" }), h("button", null, "Keep")),
    Object.entries(all).map(([name, options]) => h("div", { class: "buttons tight", key: name },
      h("button", { class: "small", title: "Take these options", onclick: () => onApply(options) }, h("bdi", { class: "cut" }, name)),
      h("button", { class: "small", "aria-label": `Remove ${name}`, onclick: () => remove(name) }, "×"))));
}
