/** Compose: all options of a render, beside the picture that it will have. The address is the recipe. */

import { get, isAbort, isPassing, list, once, post, sendPatiently } from "../page/api.js";
import { keepInAddress, to, withQuery } from "../page/address.js";
import { h } from "../page/dom.js";
import { count } from "../page/format.js";
import { beforeAfter } from "../frames/before_after.js";
import { frameAddress } from "../frames/pictures.js";
import { timeline } from "../frames/timeline.js";
import { toneWindow, windowOf } from "../frames/tone_window.js";
import { offerPanel } from "../forms/offer.js";
import { optionGroups } from "../forms/options.js";
import { presetList, Presets } from "../forms/presets.js";
import { makeSchedule } from "../forms/schedule.js";
import { flatten, groupsOf, leadBy, offerPanels, optionsOf, propertiesOf, queryOf } from "../forms/recipe.js";
import { problem, skeleton } from "./states.js";

const PAUSE_MS = 250;
const ORIGINAL_WIDTH = 1280;
const PREVIEW_TRIES = 30;
const AGAIN_S = 5;
const DESCRIPTION = "/openapi-3.1.json";
const NO_CROP = { "crop.x": null, "crop.y": null, "crop.width": null, "crop.height": null };
const NO_WINDOW = { "tone.mode": null, "tone.low": null, "tone.high": null };

/** @typedef {import("../forms/recipe.js").Field} Field */
/** @typedef {import("../frames/crop.js").Box} Box */
/** @typedef {import("../frames/tone_window.js").Window} Window_ */

/** What the view knows.
 * @param {import("../page/address.js").Route} route */
const initialState = (route) => ({
  route, at: Number(route.query.get("frame")) || 0, error: /** @type {unknown} */ (null),
  dataset: /** @type {Api.Dataset} */ (/** @type {unknown} */ (null)),
  // The service's own description of itself, and the options that it has.
  document: /** @type {any} */ (null), groups: /** @type {[string, Field[]][]} */ ([]),
  // The render's picture, and its size in words.
  preview: "", size: "", fault: /** @type {string | null} */ (null), waiting: false, wiped: false,
  // The dry run, or why the options are refused.
  answer: /** @type {Api.DryRun | null} */ (null), problem: /** @type {any} */ (null), busy: false, note: "",
  // What a pointer draws that is still down.
  crop: /** @type {Box | null} */ (null), window: /** @type {Window_ | null} */ (null),
});

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, session, update, signal, go, may }) {
  const id = /** @type {string} */ (route.id), state = initialState(route);
  const presets = new Presets(update, signal);
  let timer = 0, asked = new AbortController();

  async function load() {
    try {
      [state.dataset, state.document] = await Promise.all([get(`/api/datasets/${id}`, { signal }), once(DESCRIPTION)]);
      state.groups = groupsOf(state.document);
      offerPanels(fields(), (await list(`/api/experiments/${state.dataset.experiment_id}/datasets`, { limit: 500 }, signal)).rows, id);
      state.at = lastAtMost(state.at);
      await takeRequest();
      ask();
      if (may("videos:read")) presets.load();
    } catch (error) {
      if (!signal.aborted) state.error = error;
    }
    update();
  }

  /** With `render` in the address, the options that this render was asked for with take its place. */
  async function takeRequest() {
    const render = state.route.query.get("render");
    if (!render) return;
    const { request } = await get(`/api/videos/${render}`, { signal });
    state.route = { ...state.route, query: queryOf(fields(), request) };
    if (state.at) state.route.query.set("frame", String(state.at));
    keepInAddress(state.route, {});
  }

  const fields = () => state.groups.flatMap(([, each]) => each);
  const options = () => leadBy(fields(), optionsOf(fields(), state.route.query), id);
  const body = () => ({ experiment_id: state.dataset.experiment_id, dataset_id: id, ...options() });
  /** @param {number} frame */
  const lastAtMost = (frame) => Math.max(Math.min(frame, (state.dataset?.frame_count ?? 1) - 1), 0);

  /** The picture and the estimate of what is composed now; what was asked before is given up. */
  function ask() {
    clearTimeout(timer);
    asked.abort();
    asked = new AbortController();
    state.waiting = true;
    const mine = asked.signal;
    timer = setTimeout(() => { preview(mine); if (may("videos:render")) estimate(mine); }, PAUSE_MS);
  }

  /** @param {AbortSignal} mine */
  async function preview(mine) {
    const taken = propertiesOf(state.document, "RenderPreviewRequest");
    const options = Object.fromEntries(Object.entries(body()).filter(([name]) => name in taken));
    const path = `/api/datasets/${id}/frames/${state.at}/preview`;
    try {
      const answer = await sendPatiently(path, { method: "POST", body: options, signal: mine }, PREVIEW_TRIES);
      const blob = await answer.blob();
      if (mine.aborted) return;
      URL.revokeObjectURL(state.preview);
      Object.assign(state, { preview: URL.createObjectURL(blob), fault: null, waiting: false });
      if (!may("videos:render")) state.problem = null;
    } catch (error) {
      if (isAbort(error) || mine.aborted) return;
      Object.assign(state, { fault: /** @type {Error} */ (error).message, waiting: false });
      if (!may("videos:render")) state.problem = error;
    }
    update();
  }

  /** @param {AbortSignal} mine */
  async function estimate(mine) {
    try {
      const answer = await sendPatiently("/api/videos/generate", { method: "POST", body: { ...body(), dry_run: true }, signal: mine });
      Object.assign(state, { answer: await answer.json(), problem: null });
    } catch (error) {
      if (isAbort(error) || mine.aborted) return;
      Object.assign(state, { answer: null, problem: error });
      if (isPassing(error)) timer = setTimeout(() => estimate(mine), 1000 * (/** @type {any} */ (error).retryAfter ?? AGAIN_S));
    }
    if (!mine.aborted) update();
  }

  async function submit() {
    state.busy = true;
    update();
    try {
      go(to.watch((await post("/api/videos/generate", body())).job_id));
    } catch (error) {
      state.problem = error;
    }
    state.busy = false;
    update();
  }

  function schedule() {
    if (may("videos:render") && state.groups.length) makeSchedule(body(), () => go("#/schedules"));
  }

  /** @param {string} name @param {string} text */
  async function copy(name, text) {
    const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    state.note = copied ? `Copied as ${name}.` : "The browser does not let the page copy.";
    update();
  }

  /** Other options, under this address.
   * @param {Record<string, any>} changes */
  function change(changes) {
    Object.assign(state, { crop: null, window: null });
    go(withQuery(state.route, changes), true);
  }

  /** @param {number} frame */
  function seek(frame) {
    const at = lastAtMost(frame);
    if (state.dataset && at !== state.at) change({ frame: at || null });
  }

  /** @param {Box | null} box null: nothing was drawn @param {boolean} done */
  function drawCrop(box, done) {
    state.crop = done ? null : box;
    if (done && box) change(flatten({ crop: box }));
    else update();
  }

  /** @param {Window_} window @param {boolean} done */
  function drawWindow(window, done) {
    state.window = window;
    if (done) change({ "tone.mode": "fixed", "tone.low": window.low, "tone.high": window.high });
    else update();
  }

  /** The crop, if the address has a whole one. */
  function crop() {
    if (state.crop) return state.crop;
    const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => state.route.query.get(`crop.${name}`));
    return width && height ? { x: Number(x), y: Number(y), width: Number(width), height: Number(height) } : null;
  }

  const pictures = () => beforeAfter({
    at: state.at, original: frameAddress(id, state.at, ORIGINAL_WIDTH), crop: crop(),
    frame: { width: state.dataset.width ?? 16, height: state.dataset.height ?? 9 },
    url: state.preview, fault: state.fault, waiting: state.waiting, size: state.size,
    wiped: state.wiped && !Number(state.route.query.get("rotate")),
    onCrop: drawCrop, onSize: (size) => { state.size = size; update(); },
  });

  function transport() {
    const { frame_count: total, gaps } = state.dataset;
    const marks = gaps.map((gap) => ({ at: gap.after_index + 1, kind: "gap" }));
    const isFixed = state.route.query.get("tone.mode") === "fixed";
    return h("div", { class: "transport", key: "transport" },
      timeline({ total, at: state.at, marks, label: "Frame", text: `frame ${state.at} of ${total}`, onSeek: seek }),
      h("div", { class: "controls" },
        h("div", { class: "buttons tight" },
          h("button", { "aria-label": "One frame back", title: "Back (←)", onclick: () => seek(state.at - 1) }, "‹"),
          h("button", { "aria-label": "One frame on", title: "On (→)", onclick: () => seek(state.at + 1) }, "›")),
        h("output", { class: "counter num" }, count(state.at), h("span", { class: "quiet" }, ` / ${count(total - 1)}`)),
        h("div", { class: "buttons push" },
          h("button", { "aria-pressed": String(state.wiped), title: "One over the other (b)", onclick: toggleWipe }, "Wipe"),
          crop() ? h("button", { onclick: () => change(NO_CROP) }, "No crop") : null,
          isFixed ? h("button", { onclick: () => change(NO_WINDOW) }, "Usual window") : null)));
  }

  function toneOf() {
    const { levels } = state.dataset, { query } = state.route;
    if (!levels) return h("p", { class: "quiet tone", key: "tone" }, "A tone is for gray frames, and for those of more than 8 bits.");
    const fixed = query.get("tone.mode") === "fixed";
    return toneWindow({ levels, kept: windowOf(levels, query), drawn: state.window, fixed, onChange: drawWindow });
  }

  function toggleWipe() { state.wiped = !state.wiped; update(); }

  /** @param {any} options */
  function applyPreset(options) {
    const query = queryOf(fields(), options);
    if (state.at) query.set("frame", String(state.at));
    go(`#/compose/${id}?${query}`);
  }

  /** @param {Api.Preset} preset */
  const mayRemove = (preset) => may("videos:render") && (may("admin") || preset.owner === session.user);

  function side() {
    const { answer, problem: refused, busy, size, note, route: { query } } = state;
    const offered = { answer, problem: refused, busy, size, note, mayRender: may("videos:render"), body: body() };
    return h("aside", { class: "side", "aria-label": "Options" },
      offerPanel(offered, { submit, schedule, copy }, presetList(presets, { options, onApply: applyPreset, mayKeep: may("videos:render"), mayRemove })),
      optionGroups(state.groups, { query, problem: refused, change }));
  }

  /** @param {string} key @param {number} frames */
  const step = (key, frames) => seek(state.at + (key.endsWith("Right") ? frames : -frames));
  /** @param {string} selector */
  const focus = (selector) => /** @type {HTMLElement | null} */ (document.querySelector(selector))?.focus();

  load();
  return {
    title: () => `${state.dataset?.name ?? "Dataset"}, compose`,
    keys: [
      { keys: ["ArrowRight", "ArrowLeft"], does: "one frame on, back; on the crop or the window: move it", run: (key) => step(key, 1) },
      { keys: ["Shift+ArrowRight", "Shift+ArrowLeft"], does: "ten frames; on the crop: its size", run: (key) => step(key, 10) },
      { keys: ["Home", "End"], does: "the first, the last frame", run: (key) => seek(key === "Home" ? 0 : Infinity) },
      { keys: ["c"], does: "to the crop", run: () => focus(".crop") },
      { keys: ["t"], does: "to the window of the tone", run: () => focus(".tone .handle") },
      { keys: ["o"], does: "to the options", run: () => focus(".options summary") },
      { keys: ["b"], does: "the render's picture over the original", run: toggleWipe },
      { keys: ["s"], does: "render it again and again: a schedule", run: schedule },
      { keys: ["u"], does: "up to the dataset", run: () => go(to.dataset(id, state.at)) },
    ],
    move(next) {
      state.route = next;
      state.at = lastAtMost(Number(next.query.get("frame")) || 0);
      if (state.dataset) ask();
      return !next.query.has("render");
    },
    close() { clearTimeout(timer); asked.abort(); URL.revokeObjectURL(state.preview); },
    render() {
      if (state.error) return problem(state.error, () => { state.error = null; load(); });
      const { dataset } = state;
      return [h("header", { class: "head" },
        h("p", { class: "trail cut" }, h("a", { href: to.dataset(id, state.at) }, "Frames"), " / Compose"),
        h("h1", { class: "cut" }, dataset ? h("bdi", null, dataset.name) : "…")),
      dataset && state.groups.length
        ? h("div", { class: "compose" },
          h("div", { class: `look ${dataset.levels ? "toned" : ""}` }, pictures(), transport(), toneOf()), side())
        : skeleton(1, "stage")];
    },
  };
}
