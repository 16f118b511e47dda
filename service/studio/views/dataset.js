/** A dataset: the frame, large; all frames on a time line; what is known of them. */

import { get, isPassing, once, send } from "../page/api.js";
import { keepInAddress, to } from "../page/address.js";
import { h } from "../page/dom.js";
import { baseName, count, counted, figure, moment } from "../page/format.js";
import { MeasuredValues } from "../frames/measured.js";
import { PictureView } from "../frames/picture_view.js";
import { Seeker } from "../frames/seeker.js";
import { timeline } from "../frames/timeline.js";
import { facts } from "./dataset_facts.js";
import { empty, problem, skeleton } from "./states.js";

const AGAIN_MS = 700, FOLLOWED_MS = 3000;

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open(context) {
  const { update, signal, go } = context;
  const id = /** @type {string} */ (context.route.id);
  const state = {
    route: context.route, dataset: /** @type {Api.Dataset | null} */ (null), experiment: /** @type {Api.Experiment | null} */ (null), error: /** @type {unknown} */ (null),
    seeker: /** @type {Seeker | null} */ (null), note: "",
  };
  const measured = new MeasuredValues(id, signal, update);
  let scanning = 0;

  async function load() {
    try {
      state.dataset = await get(`/api/datasets/${id}`, { signal });
      state.experiment = await once(`/api/experiments/${state.dataset?.experiment_id}`);
    } catch (error) {
      if (signal.aborted) return;
      if (state.dataset && isPassing(error)) scanning = setTimeout(load, AGAIN_MS);
      else state.error = error;
      return update();
    }
    if (state.dataset) look(state.dataset);
    if (["empty", "scanning"].includes(state.dataset?.state ?? "")) scanning = setTimeout(load, AGAIN_MS);
    else if (state.dataset?.followed) scanning = setTimeout(load, FOLLOWED_MS);
    return update();
  }

  /** Follow the dataset, or end that; or scan it again.
   * @param {string} what @param {string} method */
  async function act(what, method) {
    clearTimeout(scanning);
    try {
      await send(`/api/datasets/${id}/${what}`, { method });
      state.note = "";
    } catch (error) {
      state.note = /** @type {Error} */ (error).message;
    }
    load();
  }

  /** Go through the frames of the last scan.
   * @param {Api.Dataset} dataset */
  function look(dataset) {
    if (!dataset.frame_count || state.seeker?.dataset.digest === dataset.digest) return;
    const at = state.seeker?.at ?? (Number(state.route.query.get("frame")) || 0);
    state.seeker?.close();
    state.seeker = new Seeker(dataset, { signal, changed: update, settled: keepPlace });
    state.seeker.start(at);
  }

  function keepPlace() {
    keepInAddress(state.route, { frame: state.seeker?.at || null });
  }

  load();
  return {
    title: () => (state.dataset ? `${state.dataset.name}, frame ${state.seeker?.at ?? 0}` : "Dataset"),
    keys: [
      ...keysOf(() => state.seeker),
      { keys: ["r"], does: "render: choose the options", run: () => { if (state.seeker) go(composed(state.seeker)); } },
      { keys: ["u"], does: "up to the experiment", run: () => { if (state.dataset) go(to.experiment(state.dataset.experiment_id)); } },
    ],
    move(next) {
      state.route = next;
      const frame = Number(next.query.get("frame")) || 0;
      if (state.seeker && frame !== state.seeker.at) state.seeker.seek(frame);
      return true;
    },
    close() { clearTimeout(scanning); measured.close(); state.seeker?.close(); },
    render() {
      if (state.error) return problem(state.error, () => { state.error = null; load(); });
      const { dataset, seeker, note } = state;
      return [head(state, context, act), note ? h("p", { class: "notice", role: "alert" }, note) : null, dataset && !seeker ? waiting(dataset, context, act)
        : seeker ? h("div", { class: "bench" }, h("div", { class: "look" }, stage(seeker, measured, update), transport(seeker)), facts(seeker)) : skeleton(1, "stage")];
    },
  };
}

/** @param {() => Seeker | null} seeker @returns {import("../page/keys.js").Key[]} */
const keysOf = (seeker) => [
  { keys: ["ArrowRight", "."], does: "one frame on", run: () => seeker()?.step(1) },
  { keys: ["ArrowLeft", ","], does: "one frame back", run: () => seeker()?.step(-1) },
  { keys: ["Shift+ArrowRight", "Shift+ArrowLeft"], does: "ten frames", run: (key) => seeker()?.step(key.endsWith("Right") ? 10 : -10) },
  { keys: ["l", "k", "j"], does: "play on, stop, play back", run: (key) => seeker()?.play(key === "l" ? 1 : key === "j" ? -1 : seeker()?.playing ?? 0) },
  { keys: [" "], does: "play or stop", run: () => seeker()?.play(seeker()?.playing || 1) },
  { keys: ["Home", "End"], does: "the first, the last frame", run: (key) => seeker()?.step(key === "Home" ? -(seeker()?.at ?? 0) : seeker()?.total ?? 0) },
  { keys: ["]", "["], does: "the next mark, the one before", run: (key) => seeker()?.jump(key === "]" ? 1 : -1) },
  { keys: ["+", "-"], does: "zoom", run: (key) => { seeker()?.view?.zoomBy(key === "+" ? 1.5 : 1 / 1.5); seeker()?.changed(); } },
  { keys: ["0", "1"], does: "fit, one to one", run: (key) => { seeker()?.view?.setZoom(Number(key)); seeker()?.changed(); } },
];

/** Where a render of it begins, with the files that watching it is easier with.
 * @param {Seeker} seeker */
const composed = ({ dataset, at }) => `#/compose/${dataset.id}?outputs=preview_strip,keogram${at ? `&frame=${at}` : ""}`;

/** @param {{dataset: Api.Dataset | null, experiment: Api.Experiment | null, seeker: Seeker | null}} state @param {import("../main.js").Context} context @param {(what: string, method: string) => void} act */
function head({ dataset, experiment, seeker }, { may, route }, act) {
  return h("header", { class: "head" },
    h("p", { class: "trail cut" }, h("a", { href: "#/experiments" }, "Experiments"), " / ", experiment ? h("a", { href: to.experiment(experiment.id) }, h("bdi", null, experiment.name)) : "…"),
    h("h1", { class: "cut" }, dataset ? h("bdi", null, dataset.name) : "…"),
    dataset?.state === "scanning" ? h("span", { class: "state scanning num" }, `scanning: ${count(dataset.scanned)}`) : null,
    seeker ? h("a", { class: `button push ${may("videos:render") ? "primary" : ""}`, href: composed(seeker) }, may("videos:render") ? "Render…" : "Compose…") : null,
    dataset && may("catalog:write") ? h("button", { "aria-pressed": String(dataset.followed), title: "New files below its prefix become frames by themselves", onclick: () => act("follow", dataset.followed ? "DELETE" : "PUT") }, dataset.followed ? "Following" : "Follow") : null,
    dataset?.follow?.problem ? h("span", { class: "state failed" }, dataset.follow.problem) : null,
    may("videos:read") && dataset ? h("a", { class: "button", href: `#/renders?dataset_id=${route.id}` }, "Renders") : null);
}

/** A dataset that has no frames to show yet.
 * @param {Api.Dataset} dataset @param {import("../main.js").Context} context @param {(what: string, method: string) => void} act */
function waiting(dataset, { may }, act) {
  if (dataset.state === "scanning") return empty("The scan is under way", h("p", { class: "num" }, `${counted(dataset.scanned, "file")} so far`));
  if (dataset.state === "failed") return empty("The scan failed", h("p", null, dataset.error), may("catalog:write") ? h("p", null, h("button", { onclick: () => act("scan", "POST") }, "Scan again")) : null);
  return empty("No frames yet", h("p", null, "Drop a folder onto the ", h("a", { href: to.experiment(dataset.experiment_id) }, "experiment"), " to upload into it."));
}

/** @param {Seeker} seeker @param {MeasuredValues} measured @param {() => void} update */
function stage(seeker, measured, update) {
  const { dataset, at, fault, view } = seeker;
  return h("div", { class: "stage", key: `stage ${dataset.digest}`, style: { "--aspect": `${dataset.width ?? 16} / ${dataset.height ?? 9}` } },
    h("canvas", { class: "picture", "aria-label": `Frame ${at}`, role: "img", mount: (/** @type {HTMLCanvasElement} */ canvas) => {
      const made = new PictureView(canvas, update);
      seeker.attach(made);
      return () => { made.close(); seeker.attach(null); };
    } }),
    fault ? h("p", { class: "fault", role: "alert" }, fault) : null,
    h("p", { class: "pixel num" }, !fault && view?.pointed ? pixelText(seeker, measured, view.pointed) : view?.zoom ? `${figure(view.zoom * 100)} %` : ""));
}

/** The pixel under the pointer: its place, what the file holds there if that is deeper than a screen, and what is shown.
 * @param {Seeker} seeker @param {MeasuredValues} measured @param {import("../frames/picture_view.js").Point} point */
function pixelText(seeker, measured, { x, y, rgb }) {
  const isDeep = (seeker.frames.get(seeker.at)?.bits ?? seeker.dataset.levels?.bits ?? 8) > 8 && seeker.dataset.kind === "frames";
  const values = isDeep && !seeker.waiting ? measured.at(seeker.at, { x, y }) : null;
  const held = values ? `  measured ${values.map((value) => value ?? "no number").join(" ")}` : isDeep ? "  measured …" : "";
  return `x ${x}  y ${y}${held}  shown ${rgb.join(" ")}`;
}

/** @param {Seeker} seeker */
function transport(seeker) {
  const { total, at, frames, playing, waiting: isWaiting } = seeker;
  const frame = frames.get(at), mark = frames.markAt(at);
  return h("div", { class: "transport", key: "transport" },
    timeline({ total, at, marks: frames.marks, label: "Frame", text: `frame ${at} of ${total}`, onSeek: (to_, moving) => { seeker.playing = 0; seeker.seek(to_, moving, moving); } }),
    h("div", { class: "controls" },
      h("div", { class: "buttons tight" },
        h("button", { title: "Back (←)", "aria-label": "One frame back", onclick: () => seeker.step(-1) }, "‹"),
        h("button", { title: "Play (L)", "aria-pressed": String(playing !== 0), onclick: () => seeker.play(playing || 1) }, playing ? "Stop" : "Play"),
        h("button", { title: "On (→)", "aria-label": "One frame on", onclick: () => seeker.step(1) }, "›")),
      h("output", { class: "counter num" }, count(at), h("span", { class: "quiet" }, ` / ${count(total - 1)}`)),
      h("span", { class: "cut" }, frame ? h("bdi", null, baseName(frame.key)) : ""),
      h("span", { class: "num quiet" }, frame?.captured_at ? moment(frame.captured_at) : ""),
      mark ? h("span", { class: mark.kind === "fault" ? "bad" : "warn" }, mark.text) : null,
      isWaiting ? h("span", { class: "quiet push" }, "…") : null));
}
