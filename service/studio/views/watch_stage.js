/** What is watched, and the bar and buttons below it. */

import { h } from "../page/dom.js";
import { clock, count } from "../page/format.js";
import { frameAddress } from "../frames/pictures.js";
import { timeline } from "../frames/timeline.js";
import { companionChoice, nameOf } from "../videos/in_step.js";
import { partsLegend } from "../videos/parts.js";
import { stripAt } from "../videos/preview_strip.js";

/** `second`: the render beside this one; `line`: of the receipt, of the frame that is shown; `mode`: how the two are compared, "": not.
 * @typedef {{
 *   state: {render: Api.VideoStatus, request: any, compare: string, receipt: {byOutput: import("../videos/receipt.js").Line[]} | null, parts: Api.RenderPart[],
 *     others: Api.VideoStatus[], strip: import("../videos/preview_strip.js").Tile[] | null, hover: {frame: number, place: number} | null,
 *     marks: import("../frames/timeline.js").Mark[]},
 *   main: import("../videos/screen.js").Screen, expected: import("../videos/expected.js").Expected,
 *   second: import("../videos/in_step.js").Companion | null, line: import("../videos/receipt.js").Line | undefined, mode: string,
 *   seek: (frame: number) => void, play: () => void, compare: (mode: string) => void, choose: (other: string | null) => void, update: () => void,
 * }} Watched */

export const BOTH = ["beside", "wipe", "difference"];
const ORIGINAL_WIDTH = 1280;

/** @param {Watched} watched */
export function stage(watched) {
  const { state: { render }, main, second, line, mode } = watched;
  return h("div", { class: "stage", key: "stage", style: { "--aspect": `${render.options.width} / ${render.options.height}` } },
    h("div", { class: mode || "alone", onpointermove: mode === "wipe" ? wipe : null },
      h("div", { key: "video", class: "fill" }, mode === "beside" ? h("span", { class: "caption num" }, second ? nameOf(render) : "render") : null, main.element("Video")),
      second ? other(second) : line && mode ? original(watched, line) : null),
    standstill(watched));
}

/** The second render, where the original would be.
 * @param {import("../videos/in_step.js").Companion} companion */
function other({ id: key, screen, fault: refused }) {
  return h("div", { key, class: "original", "data-shown": screen.shown }, h("span", { class: "caption num" }, screen.render ? `${nameOf(screen.render)}: ${count(screen.at)}` : refused ?? "…"),
    screen.render ? screen.element("The other video") : null, screen.note ? h("p", { class: "fault", role: "status" }, screen.note) : null);
}

/** What the frame that is shown is made of, as a still: its source, or the picture that the render should have of it.
 * @param {Watched} watched @param {import("../videos/receipt.js").Line} line */
function original({ state, main, expected }, line) {
  const source = line.substituted_from ?? line.source;
  if (main.playing) return h("div", { key: "original", class: "original" }, h("span", { class: "caption" }, "the original, when it stands still"));
  if (state.compare === "beside") return h("div", { key: "original", class: "original" }, h("span", { class: "caption num" }, `original ${count(source)}`), h("img", { src: frameAddress(state.render.dataset_id, source, ORIGINAL_WIDTH), alt: `Source frame ${source}` }));
  expected.want({ ...state.render, request: state.request }, line, state.receipt?.byOutput[0]);
  return h("div", { key: "original", class: "original" }, h("span", { class: "caption num" }, `${state.compare === "difference" ? "difference to " : ""}expected of ${count(source)}`),
    expected.url ? h("img", { src: expected.url, alt: `Source frame ${source}, by the options of the render` }) : h("p", { class: "fault", role: "status" }, expected.fault ?? "The expected picture is being made."));
}

/** The edge between the two follows the pointer.
 * @param {PointerEvent} event */
function wipe(event) {
  const box = /** @type {HTMLElement} */ (event.currentTarget);
  box.style.setProperty("--wipe", `${(100 * (event.clientX - box.getBoundingClientRect().left)) / box.clientWidth}%`);
}

/** Why nothing is to be seen.
 * @param {Watched} watched */
function standstill({ state: { render }, main }) {
  if (main.note) return h("p", { class: "fault", role: main.mode === "stills" ? "status" : "alert" }, main.note);
  if (main.mode === "stream" && !main.buffered) return h("p", { class: "fault wait", role: "status" }, render.waiting_for ? `Waits: ${render.waiting_for}` : render.status === "queued" ? "In the queue. It plays as soon as its first part is made." : "The first part is being made.");
  if (main.mode === "stills" && main.shown < 0) return h("p", { class: "fault wait", role: "status" }, "The frame is being decoded.");
  if (main.mode === "none") return h("p", { class: "fault" }, render.status === "failed" ? render.error?.reason ?? "The render failed." : "The render was cancelled.");
  return null;
}

/** @param {Watched} watched */
export function transport({ state, main, second, line, mode: shown, seek, play, compare, choose, update }) {
  const { render } = state, { times } = main;
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
        line || second ? h("div", { class: "buttons tight", role: "group", "aria-label": "Compare (b)" }, BOTH.map((mode) => h("button", { key: mode, "aria-pressed": String(shown === mode), onclick: () => compare(shown === mode ? "" : mode) }, mode))) : null)));
}
