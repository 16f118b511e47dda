/** Watch a render, also while it is made: step through it, and read of each frame where it is from and what became of it. */

import { ENDED, follow, get, once, send } from "../page/api.js";
import { keepInAddress, to, withQuery } from "../page/address.js";
import { h } from "../page/dom.js";
import { Expected } from "../videos/expected.js";
import { Companion, othersOf } from "../videos/in_step.js";
import { parseStrip } from "../videos/preview_strip.js";
import { readReceipt } from "../videos/receipt.js";
import { Screen } from "../videos/screen.js";
import { ReceiptTable } from "./receipt_table.js";
import { problem, skeleton } from "./states.js";
import { facts } from "./watch_facts.js";
import { BOTH, stage, transport } from "./watch_stage.js";

const AGAIN_MS = 2000, PARTS_MS = 1000;

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, may, update, signal, go }) {
  const id = /** @type {string} */ (route.id);
  const state = {
    route, error: /** @type {unknown} */ (null), compare: comparison(route),
    render: /** @type {Api.VideoStatus} */ (/** @type {unknown} */ (null)), request: /** @type {any} */ ({}),
    dataset: /** @type {Api.Dataset} */ (/** @type {unknown} */ (null)),
    experiment: /** @type {Api.Experiment} */ (/** @type {unknown} */ (null)),
    others: /** @type {Api.VideoStatus[]} */ ([]), parts: /** @type {Api.RenderPart[]} */ ([]),
    receipt: /** @type {Awaited<ReturnType<typeof readReceipt>> | null} */ (null),
    strip: /** @type {import("../videos/preview_strip.js").Tile[] | null} */ (null),
    hover: /** @type {{frame: number, place: number} | null} */ (null),
    marks: /** @type {import("../frames/timeline.js").Mark[]} */ ([]),
  };
  const main = new Screen(id, Number(route.query.get("frame")) || 0, signal, changed);
  const { times } = main;
  const expected = new Expected(signal, update);
  let close = /** @type {(() => void) | null} */ (null), timer = 0, partsTimer = 0, finished = false, wasPlaying = false;
  let second = /** @type {Companion | null} */ (null), table = /** @type {ReceiptTable | null} */ (null);

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
      if (signal.aborted) return;
      if (!state.render) state.error = error;
      else if (!close) lookAgain();
    }
    update();
  }

  async function loadParts() {
    /** @type {Api.RenderDetail} */
    const detail = await get(`/api/videos/${id}`, { signal });
    Object.assign(state, { parts: detail.parts, request: detail.request });
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
      lookAgain();
    });
  }

  function lookAgain() {
    clearTimeout(timer);
    if (!ENDED.has(state.render.status)) timer = setTimeout(load, AGAIN_MS);
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

  /** @type {import("./watch_stage.js").Watched} */
  const watched = { state, main, expected, get second() { return second; }, get line() { return lineAt(); }, get mode() { return modeNow(); }, seek, play, compare, choose, update };

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
      render ? h("div", { class: "bench", key: "bench" }, h("div", { class: "look" }, stage(watched), transport(watched)), facts({ render, receipt: state.receipt, line: lineAt(), frames: times.frames, table })) : skeleton(1, "stage"),
      table ? table.element(main.at) : null];
    },
  };
}

/** @param {import("../page/address.js").Route} route */
const comparison = ({ query }) => BOTH.find((mode) => mode === query.get("compare")) ?? "";
