/** A render of a dataset with the few options that most people set. */

import { post } from "../page/api.js";
import { to } from "../page/address.js";
import { h } from "../page/dom.js";
import { bytes, count, span } from "../page/format.js";

const CODECS = [["h264", "H.264, plays everywhere"], ["hevc", "HEVC"], ["av1", "AV1, smallest"], ["ffv1", "FFV1, lossless"]];
const SCALES = [["", "as it is"], ["0.5", "half"], ["0.25", "a quarter"], ["2", "double"]];
const PAUSE_MS = 300;

const state = { dataset: "", busy: false, estimate: /** @type {Api.EstimateModel | null} */ (null), error: /** @type {string | null} */ (null), timer: 0 };

/** @param {Api.Dataset} dataset @param {(address: string) => void} go @param {() => void} update */
export function renderForm(dataset, go, update) {
  if (state.dataset !== dataset.id) Object.assign(state, { dataset: dataset.id, busy: false, estimate: null, error: null });
  /** @param {HTMLFormElement} form @param {boolean} dry */
  const request = (form, dry) => {
    const { fps, every, scale, codec, quality } = Object.fromEntries(new FormData(form));
    return post("/api/videos/generate", {
      experiment_id: dataset.experiment_id, dataset_id: dataset.id, decimation_factor: Number(every), fps: Number(fps), codec, quality: Number(quality),
      ...(scale ? { scale: Number(scale) } : {}), outputs: ["preview_strip", "keogram"], ...(dry ? { dry_run: true } : {}),
    });
  };
  /** @param {HTMLFormElement} form */
  const estimate = (form) => {
    clearTimeout(state.timer);
    state.timer = setTimeout(async () => {
      try {
        Object.assign(state, { estimate: (await request(form, true)).estimate, error: null });
      } catch (error) {
        Object.assign(state, { estimate: null, error: /** @type {Error} */ (error).message });
      }
      update();
    }, PAUSE_MS);
  };
  /** @param {any} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    state.busy = true;
    update();
    try {
      go(to.watch((await request(form, false)).job_id));
    } catch (error) {
      state.error = /** @type {Error} */ (error).message;
    }
    state.busy = false;
    update();
  };
  return h("form", { class: "render-form", key: `render ${dataset.id}`, onsubmit: submit, oninput: (/** @type {any} */ event) => estimate(event.currentTarget), mount: estimate, "aria-label": "Render" },
    h("h2", null, "Render"),
    h("div", { class: "fields" },
      field("Frames/s", h("input", { id: "fps", name: "fps", type: "number", min: 1, max: 240, step: "any", required: true, mount: initially(30) })),
      field("One in", h("input", { id: "every", name: "every", type: "number", min: 1, max: 100000, required: true, mount: initially(1) })),
      field("Size", select("scale", SCALES)),
      field("Quality", h("input", { id: "quality", name: "quality", type: "number", min: 0, max: 100, required: true, mount: initially(70) })),
      field("Codec", select("codec", CODECS))),
    h("p", { class: "num quiet estimate" }, state.error ? h("span", { class: "bad", role: "alert" }, state.error) : state.estimate ? `${count(state.estimate.frames)} frames, about ${bytes(state.estimate.bytes)}, ready in ${span(Math.max(state.estimate.seconds, 1))}` : " "),
    h("button", { class: "primary", disabled: state.busy || Boolean(state.error) }, "Render"));
}

/** @param {any} value */
const initially = (value) => (/** @type {any} */ input) => { input.value = value; };
/** @param {string} name @param {any} control */
const field = (name, control) => h("div", { class: "field" }, h("label", { for: control.props.id }, name), control);
/** @param {string} name @param {string[][]} choices */
const select = (name, choices) => h("select", { id: name, name }, choices.map(([value, text]) => h("option", { value, key: value }, text)));
