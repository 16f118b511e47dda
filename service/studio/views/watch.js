/** Watch a render, also while it is made: step through it, and read of each frame where it is from and what became of it. */

import { ENDED, follow, get, once, send } from "../page/api.js";
import { keepInAddress, to, withQuery } from "../page/address.js";
import { h } from "../page/dom.js";
import { clock, count } from "../page/format.js";
import { frameAddress } from "../frames/pictures.js";
import { partsLegend } from "../videos/parts.js";
import { Expected } from "../videos/expected.js";
import { Companion, companionChoice, nameOf, othersOf } from "../videos/in_step.js";
import { parseStrip, stripAt } from "../videos/preview_strip.js";
import { readReceipt } from "../videos/receipt.js";
import { Screen } from "../videos/screen.js";
import { timeline } from "../frames/timeline.js";
import { ReceiptTable } from "./receipt_table.js";
import { problem, skeleton } from "./states.js";
import { facts } from "./watch_facts.js";

const AGAIN_MS = 2000, PARTS_MS = 1000;
const BOTH = ["beside", "wipe", "difference"];
const ORIGINAL_WIDTH = 1280;

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, may, update, signal, go }) {
  const id = /** @type {string} */ (route.id);
  const state = {
    route, render: /** @type {Api.VideoStatus} */ (/** @type {unknown} */ (null)), error: /** @type {unknown} */ (null), dataset: /** @type {Api.Dataset} */ (/** @type {unknown} */ (null)), experiment: /** @type {Api.Experiment} */ (/** @type {unknown} */ (null)),
    others: /** @type {Api.VideoStatus[]} */ ([]), parts: /** @type {Api.RenderPart[]} */ ([]), receipt: /** @type {Awaited<ReturnType<typeof readReceipt>> | null} */ (null), compare: comparison(route), strip: /** @type {import("../videos/preview_strip.js").Tile[] | null} */ (null), hover: /** @type {{frame: number, place: number} | null} */ (null), marks: /** @type {import("../frames/timeline.js").Mark[]} */ ([]),
  };
  const main = new Screen(id, Number(route.query.get("frame")) || 0, signal, changed);
  const { times } = main;
  let close = /** @type {(() => void) | null} */ (null), timer = 0, partsTimer = 0, second = /** @type {Companion | null} */ (null), table = /** @type {ReceiptTable | null} */ (null), expected = new Expected(signal, update), finished = false, wasPlaying = false;

  function changed() {
    second?.follow(main, lineAt());
    if (wasPlaying && !main.playing) keepPlace();
    wasPlaying = main.playing;
    update();
  }

  /** The render beside this one, as the address says. */
  function chooseSecond() {
    const chosen = state.route.query.get("beside");
    if ((second?.id ?? null) === chosen) return;
    second?.close();
    second = chosen && /^[0-9a-f-]{36}$/.test(chosen) ? new Companion(chosen, main.at, signal, () => { second?.follow(main, lineAt()); update(); }) : null;
  }

  const lineAt = () => state.receipt?.byOutput[main.at];

  async function load() {
    try {
      await loadParts();
      if (may("catalog:read") && !state.dataset) {
        state.dataset = await once(`/api/datasets/${state.render.dataset_id}`);
        state.experiment = await once(`/api/experiments/${state.render.experiment_id}`);
      }
    } catch (error) {
      if (!signal.aborted && !state.render) state.error = error;
    }
    update();
  }

  async function loadParts() {
    /** @type {Api.RenderDetail} */
    const detail = await get(`/api/videos/${id}`, { signal });
    state.parts = detail.parts;
    take(detail);
  }

  /** The parts that there are now, once for what changes within a second.
   * @param {Api.VideoStatus} render */
  function takeChange(render) {
    take(render);
    partsTimer ||= setTimeout(() => { partsTimer = 0; loadParts().catch(() => {}); }, PARTS_MS);
  }

  /** @param {Api.VideoStatus} render */
  function take(render) {
    state.render = render;
    main.take(render);
    if (!ENDED.has(render.status)) followIt();
    if (render.status === "succeeded" && !finished) loadFinished();
    update();
  }

  function followIt() {
    if (close) return;
    close = follow(`/api/videos/${id}/events`, takeChange, () => {
      close = null;
      if (!ENDED.has(state.render.status)) timer = setTimeout(load, AGAIN_MS);
    });
  }

  function loadFinished() {
    finished = true;
    if (!state.others.length) othersOf(state.render, signal).then((others) => { state.others = others; update(); }, () => {});
    readReceipt(`/api/videos/${id}/receipt`, signal).then((receipt) => {
      state.receipt = receipt;
      table = new ReceiptTable(state.render.dataset_id, update, seek);
      table.take(receipt.lines);
      state.marks = receipt.faults.filter((line) => line.output !== null).map((line) => ({ at: Number(line.output), kind: line.outcome === "resized" ? "odd" : "fault" }));
      update();
    }, () => {});
    if (state.render.preview_url) send(state.render.preview_url, { signal }).then((answer) => answer.text()).then((text) => { state.strip = parseStrip(text); }, () => {});
  }

  /** @param {number} frame */
  function seek(frame) {
    main.seek(frame);
    table?.reveal(main.at);
    keepPlace();
  }

  function keepPlace() {
    keepInAddress(state.route, { frame: main.at || null, compare: state.compare || null });
  }

  const play = () => main.play();
  /** @param {number} direction */
  const jump = (direction) => {
    const places = state.marks.map((mark) => mark.at).filter((at) => (at - main.at) * direction > 0);
    if (places.length) seek(direction > 0 ? Math.min(...places) : Math.max(...places));
  };
  /** @param {string} mode */
  const compare = (mode) => { state.compare = mode; keepPlace(); update(); };
  const compareNext = () => { const all = second ? BOTH : ["", ...BOTH]; compare(all[(all.indexOf(modeNow()) + 1) % all.length]); };
  const modeNow = () => (second ? state.compare || "beside" : lineAt() ? state.compare : "");
  /** @param {string | null} other */
  const choose = (other) => go(withQuery(state.route, { beside: other, frame: main.at || null, compare: state.compare || null }), true);

  function stage() {
    const { render } = state, line = lineAt(), mode = modeNow();
    return h("div", { class: "stage", key: "stage", style: { "--aspect": `${render.options.width} / ${render.options.height}` } },
      h("div", { class: mode || "alone", onpointermove: mode === "wipe" ? wipe : null },
        h("div", { key: "video", class: "fill" }, mode === "beside" ? h("span", { class: "caption num" }, second ? nameOf(render) : "render") : null, main.element("Video")),
        second ? other(second) : line && mode ? original(line) : null),
      standstill());
  }

  /** The second render, where the original would be.
   * @param {Companion} companion */
  function other({ id: key, screen, fault: refused }) {
    return h("div", { key, class: "original", "data-shown": screen.shown }, h("span", { class: "caption num" }, screen.render ? `${nameOf(screen.render)}: ${count(screen.at)}` : refused ?? "…"),
      screen.render ? screen.element("The other video") : null, screen.note ? h("p", { class: "fault", role: "status" }, screen.note) : null);
  }

  /** What the frame that is shown is made of, as a still: its source, or the picture that the render should have of it.
   * @param {import("../videos/receipt.js").Line} line */
  function original(line) {
    const source = line.substituted_from ?? line.source;
    if (main.playing) return h("div", { key: "original", class: "original" }, h("span", { class: "caption" }, "the original, when it stands still"));
    if (state.compare === "beside") return h("div", { key: "original", class: "original" }, h("span", { class: "caption num" }, `original ${count(source)}`), h("img", { src: frameAddress(state.render.dataset_id, source, ORIGINAL_WIDTH), alt: `Source frame ${source}` }));
    expected.want(state.render, line, state.receipt?.byOutput[0]);
    return h("div", { key: "original", class: "original" }, h("span", { class: "caption num" }, `${state.compare === "difference" ? "difference to " : ""}expected of ${count(source)}`),
      expected.url ? h("img", { src: expected.url, alt: `Source frame ${source}, by the options of the render` }) : h("p", { class: "fault", role: "status" }, expected.fault ?? "The expected picture is being made."));
  }

  /** The edge between the two follows the pointer.
   * @param {PointerEvent} event */
  function wipe(event) {
    const box = /** @type {HTMLElement} */ (event.currentTarget);
    box.style.setProperty("--wipe", `${(100 * (event.clientX - box.getBoundingClientRect().left)) / box.clientWidth}%`);
  }

  /** Why nothing is to be seen. */
  function standstill() {
    const { render } = state;
    if (main.note) return h("p", { class: "fault", role: main.mode === "stills" ? "status" : "alert" }, main.note);
    if (main.mode === "stream" && !main.buffered) return h("p", { class: "fault wait", role: "status" }, render.waiting_for ? `Waits: ${render.waiting_for}` : render.status === "queued" ? "In the queue. It plays as soon as its first part is made." : "The first part is being made.");
    if (main.mode === "stills" && main.shown < 0) return h("p", { class: "fault wait", role: "status" }, "The frame is being decoded.");
    if (main.mode === "none") return h("p", { class: "fault" }, render.status === "failed" ? render.error?.reason ?? "The render failed." : "The render was cancelled.");
    return null;
  }

  function transport() {
    const { render } = state, line = lineAt();
    return h("div", { class: "transport", key: "transport" },
      state.hover && state.strip && render.preview_url ? stripAt(state.strip, render.preview_url.replace(/vtt$/, "jpg"), times.within(state.hover.frame), state.hover.place) : null,
      render.keogram_url ? h("img", { class: "keogram", src: render.keogram_url, alt: "Keogram: a column of each frame" }) : null,
      timeline({ total: times.frames, at: main.at, marks: state.marks, parts: state.parts, label: "Frame of the video", text: `frame ${main.at} of ${times.frames}${line && line.outcome !== "ok" ? `, ${line.outcome}` : ""}`, onSeek: (frame) => seek(frame), onHover: (hover) => { state.hover = hover; update(); } }),
      partsLegend(state.parts),
      h("div", { class: "controls" },
        h("div", { class: "buttons tight" },
          h("button", { "aria-label": "One frame back", title: "Back (←)", onclick: () => seek(main.at - 1) }, "‹"),
          h("button", { title: "Space", "aria-pressed": String(main.playing), onclick: play }, main.playing ? "Stop" : "Play"),
          h("button", { "aria-label": "One frame on", title: "On (→)", onclick: () => seek(main.at + 1) }, "›")),
        h("output", { class: "counter num", "data-shown": main.shown }, count(main.at), h("span", { class: "quiet" }, ` / ${count(times.frames - 1)}`)),
        h("span", { class: "num quiet" }, clock(times.times?.[main.at] ?? main.at / times.rate)),
        h("div", { class: "buttons push comparing" }, line || second ? companionChoice(state.others, second?.id ?? null, choose) : null,
          line || second ? h("div", { class: "buttons tight", role: "group", "aria-label": "Compare (b)" }, BOTH.map((mode) => h("button", { key: mode, "aria-pressed": String(modeNow() === mode), onclick: () => compare(modeNow() === mode ? "" : mode) }, mode))) : null)));
  }

  chooseSecond();
  load();
  return {
    title: () => `${state.dataset?.name ?? "Render"}, watch`,
    keys: [
      { keys: [" ", "k"], does: "play or stop", run: play },
      { keys: ["ArrowRight", "."], does: "one frame on", run: () => seek(main.at + 1) },
      { keys: ["ArrowLeft", ","], does: "one frame back", run: () => seek(main.at - 1) },
      { keys: ["Shift+ArrowRight", "Shift+ArrowLeft"], does: "ten frames", run: (key) => seek(main.at + (key.endsWith("Right") ? 10 : -10)) },
      { keys: ["l", "j"], does: "a second on, back", run: (key) => seek(main.at + (key === "l" ? 1 : -1) * Math.round(times.rate)) },
      { keys: ["Home", "End"], does: "the first, the last frame", run: (key) => seek(key === "Home" ? 0 : times.frames - 1) },
      { keys: ["]", "["], does: "the next frame that is not ok, the one before", run: (key) => jump(key === "]" ? 1 : -1) },
      { keys: ["b"], does: "with its original: beside, wipe, difference", run: compareNext },
      { keys: ["u"], does: "up to the renders", run: () => go("#/renders") },
    ],
    move(next) {
      state.route = next;
      state.compare = comparison(next);
      chooseSecond();
      const frame = Number(next.query.get("frame")) || 0;
      if (state.render && frame !== main.at) seek(frame);
      return true;
    },
    close() { close?.(); clearTimeout(timer); clearTimeout(partsTimer); main.close(); second?.close(); expected.close(); },
    render() {
      if (state.error) return problem(state.error, () => { state.error = null; load(); });
      const { render, dataset, experiment } = state;
      return [h("header", { class: "head" },
        h("p", { class: "trail cut" }, h("a", { href: "#/renders" }, "Renders"), experiment ? [" / ", h("a", { href: to.experiment(experiment.id) }, h("bdi", null, experiment.name))] : null),
        h("h1", { class: "cut" }, dataset ? h("bdi", null, dataset.name) : render ? id.slice(-12) : "…"),
        dataset ? h("a", { class: "button push", href: to.dataset(dataset.id) }, "Frames") : null,
        dataset ? h("a", { class: "button", href: `#/compose/${dataset.id}?render=${id}` }, "Compose again") : null),
      render ? h("div", { class: "bench", key: "bench" }, h("div", { class: "look" }, stage(), transport()), facts({ render, receipt: state.receipt, line: lineAt(), frames: times.frames, table })) : skeleton(1, "stage"),
      table ? table.element(main.at) : null];
    },
  };
}

/** @param {import("../page/address.js").Route} route */
const comparison = ({ query }) => BOTH.find((mode) => mode === query.get("compare")) ?? "";
