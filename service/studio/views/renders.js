/** Renders: what is made, what waits, what became of it; live. */

import { ENDED, address, follow, list, once, patch, post, remove } from "../page/api.js";
import { to, withQuery } from "../page/address.js";
import { h } from "../page/dom.js";
import { ago, bytes, count, figure, moment, rateOf, span } from "../page/format.js";
import { confirm, pages } from "../page/controls.js";
import { empty, problem, skeleton } from "./states.js";

const STATES = ["", "running", "queued", "succeeded", "failed", "cancelled"];
const PAGE_ROWS = 50;
// Renders that are new: no stream tells of them.
const LOOK_AGAIN_MS = 10_000;
// Looks at the first row, until the whole page is read again: others may have deleted some of it.
const LOOKS = 6;
const FIRST_PRIORITY = 9;

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, may, update, signal, go }) {
  const state = {
    route, rows: /** @type {Api.VideoStatus[] | null} */ (null), next: null, total: /** @type {number | null} */ (null), error: /** @type {unknown} */ (null),
    busy: new Set(), notes: new Map(), names: new Map(), chosen: 0,
  };
  let close = () => {}, followed = "", timer = 0;

  async function load() {
    clearTimeout(timer);
    const asked = state.route;
    try {
      const found = await list("/api/videos", filterOf(asked, { limit: PAGE_ROWS, count: "exact" }), signal);
      if (asked !== state.route) return;
      Object.assign(state, { rows: found.rows, next: found.next, total: found.total, error: null });
      found.rows.forEach(nameOf);
      followUnfinished();
    } catch (error) {
      if (signal.aborted) return;
      if (!state.rows) state.error = error;
    }
    lookLater(LOOKS);
    update();
  }

  /** Load the page again if another render is its first. Pages that were opened or came back at the same moment do not ask at the
   * same moment for ever.
   * @param {number} left looks */
  function lookLater(left) {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const { rows } = left ? await list("/api/videos", filterOf(state.route, { limit: 1 }), signal).catch(() => ({ rows: [] })) : { rows: [] };
      if (left && rows[0]?.job_id === state.rows?.[0]?.job_id) lookLater(left - 1);
      else load();
    }, (document.hidden ? LOOK_AGAIN_MS * 4 : LOOK_AGAIN_MS) * (0.8 + 0.4 * Math.random()));
  }

  /** One stream for all that are not done. */
  function followUnfinished() {
    const jobs = (state.rows ?? []).filter((row) => !ENDED.has(row.status)).map((row) => row.job_id);
    if (jobs.join() === followed) return;
    close();
    followed = jobs.join();
    if (!jobs.length) return;
    close = follow(`/api/videos/events?${jobs.map((job) => `job=${job}`).join("&")}`, place, () => { followed = ""; });
  }

  /** @param {Api.VideoStatus} status */
  function place(status) {
    const at = state.rows?.findIndex((row) => row.job_id === status.job_id) ?? -1;
    if (at >= 0 && state.rows) state.rows[at] = status;
    update();
  }

  /** @param {Api.VideoStatus} row */
  function nameOf(row) {
    if (state.names.has(row.dataset_id) || !may("catalog:read")) return;
    state.names.set(row.dataset_id, null);
    Promise.all([once(`/api/experiments/${row.experiment_id}`), once(`/api/datasets/${row.dataset_id}`)])
      .then(([experiment, dataset]) => { state.names.set(row.dataset_id, [experiment.name, dataset.name]); update(); })
      .catch(() => {});
  }

  /** @param {Api.VideoStatus} row @param {() => Promise<any>} action */
  async function act(row, action) {
    state.busy.add(row.job_id);
    state.notes.delete(row.job_id);
    update();
    try {
      await action();
    } catch (error) {
      state.notes.set(row.job_id, /** @type {Error} */ (error).message);
    }
    state.busy.delete(row.job_id);
    await load();
  }

  /** @param {Api.VideoStatus} row @returns {[string, string, () => void][]} */
  function actionsOf(row) {
    const path = `/api/videos/${row.job_id}`;
    /** @type {[string, string, () => void][]} */
    const offered = [];
    if (!may("videos:render")) return offered;
    if (row.status === "queued" && row.priority < FIRST_PRIORITY) offered.push(["Prefer", "start it before others", () => act(row, () => patch(path, { priority: FIRST_PRIORITY }))]);
    if (!ENDED.has(row.status)) offered.push(["Cancel", "stop it; finished parts are kept for the next try", () => act(row, () => post(`${path}/cancel`))]);
    if (row.status === "failed" || row.status === "cancelled") offered.push(["Retry", "go on with what is missing", () => act(row, () => post(`${path}/retry`))]);
    if (ENDED.has(row.status)) offered.push(["Delete", "the video, its receipt and its poster", () => confirm("Delete this render?", "Its video, poster and receipt are deleted. Frames stay.", "Delete", () => act(row, () => remove(path)))]);
    return offered;
  }

  /** @param {Api.VideoStatus} row @param {number} index */
  function rowOf(row, index) {
    const [experiment, dataset] = state.names.get(row.dataset_id) ?? [];
    const canBeWatched = row.video_url || row.stream_url;
    return h("li", { key: row.job_id, class: `render ${row.status}`, "data-job": row.job_id, "aria-current": index === state.chosen ? "true" : null },
      h("a", { class: "thumb", href: to.watch(row.job_id), tabindex: "-1", "aria-hidden": "true" }, row.poster_url ? h("img", { src: row.poster_url, alt: "", loading: "lazy", decoding: "async" }) : progressMark(row)),
      h("div", { class: "what" },
        h("a", { class: "strong cut", href: to.watch(row.job_id) }, h("bdi", null, dataset ?? (may("catalog:read") ? "…" : row.job_id.slice(-12)))),
        h("span", { class: "quiet cut" }, experiment ? h("bdi", null, experiment) : null)),
      h("div", { class: "spec quiet num" }, `${row.options.codec} ${row.options.width}×${row.options.height}`, h("br"), paceOf(row)),
      h("div", { class: "course" }, courseOf(row)),
      h("div", { class: "when quiet num", title: moment(row.created_at) }, ago(row.created_at), row.mine ? null : h("span", { class: "tag" }, "others’")),
      h("div", { class: "actions" },
        canBeWatched && !row.video_url ? h("a", { class: "button small", href: to.watch(row.job_id) }, "Watch") : null,
        actionsOf(row).map(([name, title, run]) => h("button", { class: "small", title, key: name, disabled: state.busy.has(row.job_id), onclick: run }, name))),
      state.notes.has(row.job_id) ? h("p", { class: "row-note", role: "alert" }, state.notes.get(row.job_id)) : null);
  }

  function body() {
    if (state.error) return problem(state.error, () => { state.error = null; load(); update(); });
    if (!state.rows) return skeleton(8);
    if (!state.rows.length) return isFiltered(state.route) ? empty("No render is like this", h("p", null, h("a", { href: "#/renders" }, "Show all"))) : empty("Nothing was rendered yet", h("p", null, "Open an experiment, look at its frames, and render them."), h("p", null, h("a", { href: "#/experiments" }, "To the experiments")));
    return [h("ol", { class: "renders", "aria-label": "Renders" }, state.rows.map(rowOf)), pages(state.route, state.next)];
  }

  load();
  return {
    title: () => "Renders",
    keys: [
      { keys: ["j", "ArrowDown"], does: "the next render", run: () => choose(1) },
      { keys: ["k", "ArrowUp"], does: "the render before", run: () => choose(-1) },
      { keys: ["Enter"], does: "watch it", run: () => { const row = state.rows?.[state.chosen]; if (row) go(to.watch(row.job_id)); } },
      { keys: ["c"], does: "cancel it", run: () => press("Cancel") },
      { keys: ["p"], does: "prefer it", run: () => press("Prefer") },
    ],
    move(next) {
      state.route = next;
      state.rows = null;
      load();
      return true;
    },
    close() { close(); clearTimeout(timer); },
    render: () => [
      h("header", { class: "head" },
        h("h1", null, "Renders", h("span", { class: "quiet num" }, state.total === null ? "" : count(state.total))),
        h("nav", { class: "choices", "aria-label": "State" }, STATES.map((each) => h("a", { key: each, href: withQuery(state.route, { status: each, cursor: null }), "aria-current": (state.route.query.get("status") ?? "") === each ? "true" : null }, each || "all"))),
        h("label", { class: "check" }, h("input", { type: "checkbox", checked: state.route.query.has("mine"), onchange: (/** @type {any} */ event) => go(withQuery(state.route, { mine: event.target.checked, cursor: null })) }), "only mine"), filterChip(),
        h("a", { class: "button push", href: address("#/schedules", { experiment_id: state.route.query.get("experiment_id") }), title: "Renders that are asked for again and again (g s)" }, "Schedules")),
      body(),
    ],
  };

  /** Of which experiment or dataset these are, if the address says so. */
  function filterChip() {
    const { query } = state.route, row = state.rows?.[0], [experiment, dataset] = state.names.get(row?.dataset_id) ?? [];
    if (!query.has("experiment_id") && !query.has("dataset_id")) return null;
    const name = query.has("dataset_id") ? dataset : experiment;
    return h("a", { class: "button small", title: "Show those of all", href: withQuery(state.route, { experiment_id: null, dataset_id: null, cursor: null }) }, "of ", h("bdi", { class: "cut" }, name ?? (query.has("dataset_id") ? "one dataset" : "one experiment")), " ×");
  }

  /** @param {number} step */
  function choose(step) {
    state.chosen = Math.max(0, Math.min((state.rows?.length ?? 1) - 1, state.chosen + step));
    update();
    document.querySelectorAll(".render")[state.chosen]?.scrollIntoView({ block: "nearest" });
  }

  /** @param {string} name */
  function press(name) {
    const row = state.rows?.[state.chosen];
    if (row) actionsOf(row).find(([each]) => each === name)?.[2]();
  }
}

/** @param {import("../page/address.js").Route} route @param {Record<string, any>} more */
function filterOf({ query }, more) {
  const named = ["status", "mine", "experiment_id", "dataset_id", "cursor"].map((name) => [name, query.get(name)]);
  return { ...Object.fromEntries(named), ...more };
}

/** @param {import("../page/address.js").Route} route */
const isFiltered = ({ query }) => ["status", "mine", "experiment_id", "dataset_id", "cursor"].some((name) => query.has(name));

/** @param {Api.VideoStatus} row */
function paceOf({ options, frames_total: frames }) {
  const rate = rateOf(options.fps);
  return options.timing ? `as captured, ×${options.timing.speed}` : `${figure(rate)} fps, ${span(frames / rate)}`;
}

/** A place for the poster that shows how far it is.
 * @param {Api.VideoStatus} row */
export function progressMark({ frames_done: done, frames_total: total, status }) {
  return h("span", { class: `mark-progress ${status}`, style: { "--done": total ? done / total : 0 } });
}

/** How far a render is, and what holds it up.
 * @param {Api.VideoStatus} row */
export function courseOf(row) {
  const { status, frames_done: done, frames_total: total, fps, eta_seconds: left, summary } = row;
  const device = deviceOf(row);
  if (status === "succeeded") {
    const faults = faultsOf(summary);
    return h("div", { class: "facts" }, h("span", { class: "state" }, "done"), h("span", { class: "num" }, bytes(row.video_bytes)), fps ? h("span", { class: "num quiet" }, `${figure(fps)} frames/s`) : null, faults ? h("span", { class: "warn num" }, faults) : null);
  }
  if (status === "failed") return h("div", { class: "facts" }, h("span", { class: "state" }, "failed"), h("span", { class: "reason" }, row.error?.reason ?? row.error?.detail ?? row.error?.code ?? ""));
  if (status === "cancelled") return h("div", { class: "facts" }, h("span", { class: "state" }, "cancelled"), h("span", { class: "num quiet" }, `${count(done)} of ${count(total)} frames were done`));
  return [
    h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": total, "aria-valuenow": done, "aria-label": "Frames done", style: { "--done": total ? done / total : 0 } }),
    h("div", { class: "facts num" },
      h("span", { class: "state" }, status === "queued" ? (row.priority ? `queued, priority ${row.priority}` : "queued") : row.phase),
      h("span", null, `${count(done)} / ${count(total)}`),
      h("span", null, fps === null ? "" : `${figure(fps)} frames/s`),
      h("span", null, left === null ? "" : `${span(left)} left`),
      h("span", { class: "quiet" }, device),
      row.attempts > 1 ? h("span", { class: "warn" }, `attempt ${row.attempts}`) : null),
    row.waiting_for ? h("p", { class: "reason" }, `Waits: ${row.waiting_for}`) : null,
  ];
}

/** @param {Api.VideoStatus} row */
function deviceOf({ stages }) {
  const devices = new Set(Object.values(stages ?? {}).map((stage) => /** @type {any} */ (stage)?.device).filter(Boolean));
  return [...devices].map((each) => String(each).toUpperCase()).join(" + ");
}

/** @param {Api.VideoStatus["summary"]} summary */
function faultsOf(summary) {
  const outcomes = Object.entries(summary?.outcomes ?? {}).filter(([name]) => name !== "ok");
  return outcomes.map(([name, number]) => `${count(Number(number))} ${name}`).join(", ");
}
