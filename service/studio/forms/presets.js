/** Presets of the service: options by name, which requests, schedules and scripts can name, too. */

import { get, isAbort, post, send } from "../page/api.js";
import { confirm } from "../page/controls.js";
import { h } from "../page/dom.js";

const LIST = "/api/presets?limit=100";

export class Presets {
  /** @param {() => void} changed @param {AbortSignal} signal */
  constructor(changed, signal) {
    this.changed = changed;
    this.signal = signal;
    /** @type {Api.Preset[]} */ this.all = [];
    /** Why the last change was refused. */
    this.note = "";
  }

  load() { return this.change(async () => {}); }

  /** @param {string} name @param {any} options */
  keep(name, options) { return this.change(() => post("/api/presets", { name, options })); }

  /** @param {Api.Preset} preset */
  remove(preset) { return this.change(() => send(`/api/presets/${preset.id}`, { method: "DELETE" })); }

  /** @param {() => Promise<unknown>} work */
  async change(work) {
    this.note = "";
    try {
      await work();
      this.all = await get(LIST, { signal: this.signal });
    } catch (error) {
      if (isAbort(error) || this.signal.aborted) return;
      this.note = /** @type {Error} */ (error).message;
    }
    this.changed();
  }
}

/** @param {Presets} presets @param {{options: () => any, onApply: (options: any) => void, mayKeep: boolean, mayRemove: (preset: Api.Preset) => boolean}} form */
export function presetList(presets, { options, onApply, mayKeep, mayRemove }) {
  /** @param {any} event */
  const keep = async (event) => {
    event.preventDefault();
    const form = event.target, name = form.elements.preset.value.trim();
    if (name) await presets.keep(name, options());
    if (!presets.note) form.reset();
  };
  return h("div", { key: "presets", class: "presets" },
    mayKeep ? h("form", { class: "buttons tight", onsubmit: keep },
      h("input", { id: "preset", "aria-label": "Name of these options", placeholder: "Name of these options", maxlength: 200 }), h("button", null, "Keep")) : null,
    presets.note ? h("p", { class: "notice", role: "alert" }, presets.note) : null,
    presets.all.map((preset) => h("div", { class: "buttons tight", key: preset.id },
      h("button", { class: "small", title: `Take these options, which ${preset.owner} keeps`, onclick: () => onApply(preset.options) }, h("bdi", { class: "cut" }, preset.name)),
      mayRemove(preset) ? h("button", { class: "small", "aria-label": `Remove ${preset.name}`, onclick: () => confirm("Delete this preset?", `Nobody can name “${preset.name}” any more. What was rendered with it stays.`, "Delete", () => presets.remove(preset)) }, "×") : null)));
}
