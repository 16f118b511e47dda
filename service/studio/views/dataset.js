/** A dataset: the frame, large; all frames on a time line; what is known of them. */

import { get, list, once, post, Problem } from "../page/api.js";
import { keepInAddress, to } from "../page/address.js";
import { h } from "../page/dom.js";
import { baseName, bytes, count, counted, figure, moment, span } from "../page/format.js";
import { frameAddress, isDirect, isShown, PictureCache, Thumbnails } from "../frames/pictures.js";
import { histogram, PictureView } from "../frames/picture_view.js";
import { timeline } from "../frames/timeline.js";
import { empty, problem, skeleton } from "./states.js";

const ROUGH_WIDTH = 640, SHARP_WIDTH = 1920;
const REST_MS = 160;
const PLAY_MS = 80;
const AHEAD = 3;
const KEPT_PIXELS = 64_000_000, KEPT_SHEETS = 40_000_000;
const LISTED = 1000, MOST_LISTED = 20_000;
const AGAIN_MS = 700;

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open(context) {
  const { update, signal, go, may } = context;
  const id = /** @type {string} */ (context.route.id);
  const state = {
    route: context.route, dataset: /** @type {Api.Dataset} */ (/** @type {unknown} */ (null)), experiment: /** @type {Api.Experiment} */ (/** @type {unknown} */ (null)), error: /** @type {unknown} */ (null),
    at: Number(context.route.query.get("frame")) || 0, fault: /** @type {string | null} */ (null), waiting: true,
    frames: /** @type {Map<number, Api.Frame>} */ (new Map()), marks: /** @type {import("../frames/timeline.js").Mark[]} */ ([]), listed: false,
    point: /** @type {import("../frames/picture_view.js").Point | null} */ (null), levels: /** @type {number[] | null} */ (null), playing: 0, sharp: false,
  };
  const pictures = new PictureCache(KEPT_PIXELS), sheets = new PictureCache(KEPT_SHEETS);
  let thumbnails = /** @type {Thumbnails | null} */ (null), passed = /** @type {ImageBitmap | null} */ (null);
  let view = /** @type {PictureView | null} */ (null);
  let resting = 0, scanning = 0, wanted = 0, drawn = -1;

  async function load() {
    const known = state.dataset;
    try {
      state.dataset = await get(`/api/datasets/${id}`, { signal });
      state.experiment = await once(`/api/experiments/${state.dataset.experiment_id}`);
    } catch (error) {
      if (signal.aborted) return;
      const isAway = !(error instanceof Problem) || !error.status || error.status >= 500;
      if (known && isAway) scanning = setTimeout(load, AGAIN_MS);
      else state.error = error;
      return update();
    }
    if (["empty", "scanning"].includes(state.dataset.state)) scanning = setTimeout(load, AGAIN_MS);
    else if (state.dataset.frame_count) {
      state.at = Math.min(state.at, state.dataset.frame_count - 1);
      listFrames().catch(() => {});
      if (!isDirect(state.dataset)) get(`/api/datasets/${id}/thumbnails`, { signal }).then((plan) => { thumbnails = new Thumbnails(plan, sheets); }, () => {});
      seek(state.at);
    }
    return update();
  }

  /** What the time line marks: gaps are facts of the dataset, the rest is in the list of frames. */
  async function listFrames() {
    const { gaps, frame_count: total, width, height, kind } = state.dataset;
    state.marks = gaps.map((gap) => ({ at: gap.after_index + 1, kind: "gap", text: `${count(gap.count)} missing` }));
    if (kind === "video") return;
    for (let start = 0; start < Math.min(total, MOST_LISTED); start += LISTED) {
      const { rows } = await list(`/api/datasets/${id}/frames`, { start, limit: LISTED }, signal);
      for (const row of rows) {
        state.frames.set(row.index, row);
        if (row.problem) state.marks.push({ at: row.index, kind: "fault", text: row.problem });
        else if (row.width !== width || row.height !== height) state.marks.push({ at: row.index, kind: "odd", text: `${row.width}×${row.height}` });
      }
      update();
    }
    state.listed = total <= MOST_LISTED;
    if (total > MOST_LISTED) {
      const { rows } = await list(`/api/datasets/${id}/frames`, { unreadable: true, limit: LISTED }, signal);
      for (const row of rows) if (row.index >= MOST_LISTED) state.marks.push({ at: row.index, kind: "fault", text: row.problem });
    }
    update();
  }

  /** A picture to look at in passing.
   * @param {number} frame */
  const rough = (frame) => frameAddress(id, frame, isDirect(state.dataset) ? undefined : ROUGH_WIDTH);

  /** @param {number} frame @param {boolean} [moving] a rough picture is enough @param {boolean} [passing] so is a small one of a frame close by */
  async function seek(frame, moving = false, passing = false) {
    const total = state.dataset.frame_count;
    const step = Math.sign(frame - state.at) || 1;
    state.at = Math.min(Math.max(frame, 0), total - 1);
    wanted += 1;
    const asked = wanted, at = state.at;
    clearTimeout(resting);
    state.waiting = true;
    state.sharp = false;
    resting = setTimeout(() => rest(asked, at), REST_MS);
    update();
    if (!moving) keepPlace();
    if (passing && thumbnails) return showThumbnail(thumbnails, asked, at);
    const near = Array.from({ length: AHEAD }, (_each, ahead) => at + step * (ahead + 1)).filter((each) => each >= 0 && each < total);
    const paths = [at, ...near].map(rough);
    pictures.keepLoading(new Set(paths));
    const shown = await show(paths[0], asked, at);
    if (shown && asked === wanted) paths.slice(1).forEach((path) => pictures.get(path).catch(() => {}));
    return shown;
  }

  /** @param {Thumbnails} from @param {number} asked @param {number} at */
  async function showThumbnail(from, asked, at) {
    const bitmap = await from.nearest(at).catch(() => null);
    if (!bitmap || asked !== wanted || !view) { bitmap?.close(); return false; }
    view.show(bitmap, sizeOf(at, bitmap));
    passed?.close();
    passed = bitmap;
    Object.assign(state, { fault: null, waiting: false });
    update();
    return true;
  }

  /** Of the whole frame, whatever the size of the picture of it is.
   * @param {number} at @param {ImageBitmap} bitmap */
  function sizeOf(at, bitmap) {
    const frame = state.frames.get(at);
    return { width: frame?.width ?? state.dataset.width ?? bitmap.width, height: frame?.height ?? state.dataset.height ?? bitmap.height };
  }

  /** The hand rests: the sharp picture, and what there is to know of it.
   * @param {number} asked @param {number} at */
  async function rest(asked, at) {
    keepPlace();
    if (!state.frames.has(at) && state.dataset.kind === "frames") {
      list(`/api/datasets/${id}/frames`, { start: at, limit: 1 }, signal).then(({ rows }) => { if (rows[0]) state.frames.set(at, rows[0]); update(); }, () => {});
    }
    const isLarge = (view?.zoom ?? 0) > 0 && isShown(state.frames.get(at)?.format) && (state.frames.get(at)?.bits ?? 8) <= 8;
    const sharp = frameAddress(id, at, isLarge ? undefined : SHARP_WIDTH);
    state.sharp = await show(sharp, asked, at);
    const bitmap = pictures.peek(rough(at)) ?? pictures.peek(sharp);
    if (bitmap && asked === wanted) state.levels = histogram(bitmap);
    update();
  }

  /** @param {string} path @param {number} asked @param {number} at */
  async function show(path, asked, at) {
    try {
      const bitmap = await pictures.get(path);
      if (asked !== wanted) return false;
      view?.show(bitmap, sizeOf(at, bitmap));
      drawn = at;
      Object.assign(state, { fault: null, waiting: false });
    } catch (error) {
      if (asked !== wanted || signal.aborted) return false;
      if (!(error instanceof Problem)) return false;  // the browser cannot decode it: a worker says why, when the hand rests
      Object.assign(state, { fault: /** @type {Error} */ (error).message, waiting: false, levels: null });
      if (error.status === 422 && !state.marks.some((mark) => mark.at === at)) state.marks.push({ at, kind: "fault", text: "cannot be decoded" });
    }
    update();
    return state.fault === null;
  }

  function keepPlace() {
    keepInAddress(state.route, { frame: state.at || null });
  }

  /** @param {number} direction 0: stop */
  async function play(direction) {
    state.playing = state.playing === direction ? 0 : direction;
    const mine = state.playing;
    update();
    while (mine && state.playing === mine && !signal.aborted) {
      const next = state.at + mine, begun = performance.now();
      if (next < 0 || next >= state.dataset.frame_count) break;
      await seek(next, true);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, PLAY_MS - (performance.now() - begun))));
    }
    if (state.playing === mine) { state.playing = 0; update(); }
  }

  /** @param {number} by */
  const step = (by) => { state.playing = 0; if (state.dataset?.frame_count) seek(state.at + by); };
  /** @param {number} direction */
  const jump = (direction) => {
    const places = state.marks.map((mark) => mark.at).filter((at) => (at - state.at) * direction > 0);
    if (places.length) seek(direction > 0 ? Math.min(...places) : Math.max(...places));
  };

  /** Where a render of it begins, with the files that watching it is easier with. */
  const composed = () => `#/compose/${id}?outputs=preview_strip,keogram${state.at ? `&frame=${state.at}` : ""}`;

  const stage = () => h("div", { class: "stage", key: "stage", style: { "--aspect": `${state.dataset.width ?? 16} / ${state.dataset.height ?? 9}` } },
    h("canvas", { class: "picture", "aria-label": `Frame ${state.at}`, role: "img", mount: (/** @type {HTMLCanvasElement} */ canvas) => {
      view = new PictureView(canvas, (point) => { state.point = point; update(); });
      const bitmap = drawn < 0 ? null : pictures.peek(rough(drawn));
      if (bitmap) view.show(bitmap, { width: bitmap.width, height: bitmap.height });
      return () => { view?.close(); view = null; };
    } }),
    state.fault ? h("p", { class: "fault", role: "alert" }, state.fault) : null,
    h("p", { class: "pixel num" }, state.point && !state.fault ? `x ${state.point.x}  y ${state.point.y}  shown ${state.point.rgb.join(" ")}` : view?.zoom ? `${figure(view.zoom * 100)} %` : ""));

  function transport() {
    const { frame_count: total } = state.dataset;
    const frame = state.frames.get(state.at);
    const mark = state.marks.find((each) => each.at === state.at);
    return h("div", { class: "transport", key: "transport" },
      timeline({ total, at: state.at, marks: state.marks, label: "Frame", text: `frame ${state.at} of ${total}`, onSeek: (to_, moving) => { state.playing = 0; seek(to_, moving, moving); } }),
      h("div", { class: "controls" },
        h("div", { class: "buttons tight" },
          h("button", { title: "Back (←)", "aria-label": "One frame back", onclick: () => step(-1) }, "‹"),
          h("button", { title: "Play (L)", "aria-pressed": String(state.playing === 1), onclick: () => play(1) }, state.playing ? "Stop" : "Play"),
          h("button", { title: "On (→)", "aria-label": "One frame on", onclick: () => step(1) }, "›")),
        h("output", { class: "counter num" }, count(state.at), h("span", { class: "quiet" }, ` / ${count(total - 1)}`)),
        h("span", { class: "cut" }, frame ? h("bdi", null, baseName(frame.key)) : ""),
        h("span", { class: "num quiet" }, frame?.captured_at ? moment(frame.captured_at) : ""),
        mark ? h("span", { class: mark.kind === "fault" ? "bad" : "warn" }, mark.text) : null,
        state.waiting ? h("span", { class: "quiet push" }, "…") : null));
  }

  function facts() {
    const { dataset } = state;
    const frame = state.frames.get(state.at);
    return h("aside", { class: "side", "aria-label": "Facts" },
      h("section", null, h("h2", null, "This frame"), table([
        ["number", frame?.number], ["size", frame?.width ? `${frame.width}×${frame.height}` : null], ["format", frame?.format ? `${frame.format}${(frame.bits ?? 8) > 8 ? `, ${frame.bits} bits` : ""}` : null],
        ["bytes", frame ? bytes(frame.size) : null], ["page", frame?.page],
      ]), state.levels ? levelChart(state.levels) : h("div", { class: "chart blank" })),
      h("section", null, h("h2", null, "All frames"), table([
        [dataset.kind === "video" ? "pictures" : "frames", count(dataset.frame_count)], ["bytes", bytes(dataset.bytes)], ["sizes", sizesOf(dataset)], ["formats", dataset.formats.join(", ")],
        ["captured", dataset.captured_from ? `${moment(dataset.captured_from)} to ${moment(dataset.captured_to)}` : null],
        ["every", dataset.cadence ? `${span(dataset.cadence.interval_seconds)}` : null],
        ["missing", dataset.gap_frames ? `${count(dataset.gap_frames)} in ${counted(dataset.gaps.length, "gap")}` : null],
        ["unreadable", dataset.unreadable_frames ? count(dataset.unreadable_frames) : null],
        ["samples", dataset.levels ? `${figure(dataset.levels.low)} to ${figure(dataset.levels.high)}, ${dataset.levels.bits} bits` : null],
        ["left out", excluded(dataset)],
      ]), dataset.unreadable.length ? h("ul", { class: "reasons" }, dataset.unreadable.map((each) => h("li", null, h("span", { class: "num" }, `${count(each.count)} `), each.reason, h("span", { class: "quiet" }, ", such as ", h("bdi", null, baseName(each.example)))))) : null,
      state.listed || dataset.kind === "video" ? null : h("p", { class: "quiet" }, dataset.frame_count > MOST_LISTED ? `Odd sizes are marked among the first ${count(MOST_LISTED)} frames.` : "Marks are being read…")));
  }

  function body() {
    const { dataset } = state;
    if (!dataset) return skeleton(1, "stage");
    if (dataset.state === "scanning" && !dataset.frame_count) return empty("The scan is under way", h("p", { class: "num" }, `${counted(dataset.scanned, "file")} so far`));
    if (dataset.state === "failed" && !dataset.frame_count) return empty("The scan failed", h("p", null, dataset.error), may("catalog:write") ? h("p", null, h("button", { onclick: () => post(`/api/datasets/${id}/scan`).then(load, load) }, "Scan again")) : null);
    if (!dataset.frame_count) return empty("No frames yet", h("p", null, "Drop a folder onto the ", h("a", { href: to.experiment(dataset.experiment_id) }, "experiment"), " to upload into it."));
    return h("div", { class: "bench" }, h("div", { class: "look" }, stage(), transport()), facts());
  }

  load();
  return {
    title: () => (state.dataset ? `${state.dataset.name}, frame ${state.at}` : "Dataset"),
    keys: [
      { keys: ["ArrowRight", "."], does: "one frame on", run: () => step(1) },
      { keys: ["ArrowLeft", ","], does: "one frame back", run: () => step(-1) },
      { keys: ["Shift+ArrowRight", "Shift+ArrowLeft"], does: "ten frames", run: (key) => step(key.endsWith("Right") ? 10 : -10) },
      { keys: ["l", "k", "j"], does: "play on, stop, play back", run: (key) => play(key === "l" ? 1 : key === "j" ? -1 : state.playing) },
      { keys: [" "], does: "play or stop", run: () => play(state.playing || 1) },
      { keys: ["Home", "End"], does: "the first, the last frame", run: (key) => step(key === "Home" ? -state.at : state.dataset.frame_count) },
      { keys: ["]", "["], does: "the next mark, the one before", run: (key) => jump(key === "]" ? 1 : -1) },
      { keys: ["+", "-"], does: "zoom", run: (key) => { view?.zoomBy(key === "+" ? 1.5 : 1 / 1.5); update(); } },
      { keys: ["0", "1"], does: "fit, one to one", run: (key) => { view?.setZoom(Number(key)); update(); } },
      { keys: ["r"], does: "render: choose the options", run: () => { if (state.dataset?.frame_count) go(composed()); } },
      { keys: ["u"], does: "up to the experiment", run: () => { if (state.dataset) go(to.experiment(state.dataset.experiment_id)); } },
    ],
    move(next) {
      state.route = next;
      const frame = Number(next.query.get("frame")) || 0;
      if (state.dataset?.frame_count && frame !== state.at) seek(frame);
      return true;
    },
    close() { state.playing = 0; clearTimeout(resting); clearTimeout(scanning); pictures.close(); sheets.close(); passed?.close(); },
    render() {
      if (state.error) return problem(state.error, () => { state.error = null; load(); });
      const { dataset, experiment } = state;
      return [h("header", { class: "head" },
        h("p", { class: "trail cut" }, h("a", { href: "#/experiments" }, "Experiments"), " / ", experiment ? h("a", { href: to.experiment(experiment.id) }, h("bdi", null, experiment.name)) : "…"),
        h("h1", { class: "cut" }, dataset ? h("bdi", null, dataset.name) : "…"),
        dataset?.state === "scanning" ? h("span", { class: "state scanning num" }, `scanning: ${count(dataset.scanned)}`) : null,
        dataset?.frame_count ? h("a", { class: `button push ${may("videos:render") ? "primary" : ""}`, href: composed() }, may("videos:render") ? "Render…" : "Compose…") : null,
        may("videos:read") && dataset ? h("a", { class: "button", href: `#/renders?dataset_id=${id}` }, "Renders") : null), body()];
    },
  };
}

/** @param {[string, any][]} rows */
const table = (rows) => h("dl", { class: "table num" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", { key: name }, name), h("dd", { key: `${name} is` }, value)]));

/** @param {Api.Dataset} dataset */
const sizesOf = ({ sizes }) => sizes.slice(0, 3).map((each) => `${each.width}×${each.height}${sizes.length > 1 ? ` (${count(each.count)})` : ""}`).join(", ");

/** @param {Api.Dataset} dataset */
const excluded = (dataset) => Object.entries(dataset.excluded).map(([name, { count: number, reason }]) => `${count(number)} ${name} (${reason})`).join(", ");

/** @param {number[]} levels */
const levelChart = (levels) => h("figure", { class: "chart" },
  h("svg", { viewBox: "0 0 64 20", preserveAspectRatio: "none", role: "img", "aria-label": "How often each brightness is in the picture shown" }, levels.map((level, place) => h("rect", { key: place, x: place, y: 20 - level * 20, width: 1, height: level * 20 }))),
  h("figcaption", { class: "quiet" }, "brightness of the picture shown"));
