/** Schedules: what is rendered again and again, when next, and what became of it. */

import { ENDED, follow, list, once, patch, post, send } from "../page/api.js";
import { to, withQuery } from "../page/address.js";
import { confirm, pages } from "../page/controls.js";
import { h } from "../page/dom.js";
import { count } from "../page/format.js";
import { changeSchedule } from "../forms/schedule.js";
import { lastRun, runList, times } from "./schedule_runs.js";
import { progressMark } from "./renders.js";
import { empty, problem, skeleton } from "./states.js";

const PAGE_ROWS = 50;
const PAGE_RUNS = 20;
// As many renders as one stream tells of.
const MAX_FOLLOWED = 100;
const LOOK_AGAIN_MS = 10_000;

/** @typedef {import("./schedule_runs.js").Runs} Runs */

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, session, may, update, signal, go }) {
  const state = {
    route, rows: /** @type {Api.Schedule[] | null} */ (null), next: null, total: /** @type {number | null} */ (null), error: /** @type {unknown} */ (null),
    runs: /** @type {Runs | null} */ (null), statuses: /** @type {Map<string, Api.VideoStatus>} */ (new Map()), names: new Map(), busy: new Set(), notes: new Map(),
  };
  let close = () => {}, followed = "", timer = 0;

  const opened = () => state.route.query.get("runs");
  /** The page of the list that is shown, without what is opened on it. */
  const listed = () => withQuery(state.route, { runs: null });

  async function load() {
    clearTimeout(timer);
    const asked = listed(), { query } = state.route;
    try {
      const found = await list("/api/schedules", { limit: PAGE_ROWS, count: "exact", experiment_id: query.get("experiment_id"), mine: query.get("mine"), cursor: query.get("cursor") }, signal);
      if (asked !== listed()) return;
      Object.assign(state, { rows: found.rows, next: found.next, total: found.total, error: null });
      found.rows.forEach(nameOf);
      await loadRuns();
    } catch (error) {
      if (!state.rows && !signal.aborted) state.error = error;
    }
    if (signal.aborted) return;
    followRenders();
    clearTimeout(timer);
    timer = setTimeout(load, (document.hidden ? LOOK_AGAIN_MS * 4 : LOOK_AGAIN_MS) * (0.8 + 0.4 * Math.random()));
    update();
  }

  /** The runs of the schedule that is opened: the latest, or those before the ones that are shown.
   * @param {string | null} [cursor] */
  async function loadRuns(cursor = null) {
    const id = opened();
    if (!id || !state.rows?.some((row) => row.id === id)) return;
    const before = state.runs?.id === id ? state.runs : null;
    try {
      const found = await list(`/api/schedules/${id}/runs`, { limit: PAGE_RUNS, cursor }, signal);
      if (id !== opened()) return;
      const known = new Map([...before?.rows ?? [], ...found.rows].map((run) => [run.id, run]));
      state.runs = { id, rows: [...known.values()].sort((a, b) => b.number - a.number), next: before?.rows.length && !cursor ? before.next : found.next, error: null };
    } catch (error) {
      if (signal.aborted) return;
      state.runs = { id, rows: before?.rows ?? [], next: before?.next ?? null, error: /** @type {Error} */ (error) };
    }
    followRenders();
    update();
  }

  /** One stream for all renders that are seen and not known to have ended. */
  function followRenders() {
    const runs = [...(state.rows ?? []).map((row) => row.last_run), ...state.runs?.rows ?? []];
    const jobs = [...new Set(runs.flatMap((run) => run?.job_id ?? []))].filter((job) => !ENDED.has(state.statuses.get(job)?.status ?? ""));
    const asked = jobs.slice(0, MAX_FOLLOWED).map((job) => `job=${job}`).join("&");
    if (asked === followed) return;
    close();
    followed = asked;
    close = () => {};
    if (asked) close = follow(`/api/videos/events?${asked}`, (status) => { state.statuses.set(status.job_id, status); update(); }, () => { followed = ""; });
  }

  /** @param {Api.Schedule} row */
  function nameOf({ experiment_id: experiment, request: { dataset_id: dataset } }) {
    for (const path of [`/api/experiments/${experiment}`, dataset ? `/api/datasets/${dataset}` : ""]) {
      if (path && may("catalog:read")) once(path).then(({ name }) => { state.names.set(path, name); update(); }).catch(() => {});
    }
  }

  /** @param {Api.Schedule} row @param {() => Promise<unknown>} action */
  async function act(row, action) {
    state.busy.add(row.id);
    state.notes.delete(row.id);
    update();
    try {
      await action();
    } catch (error) {
      state.notes.set(row.id, /** @type {Error} */ (error).message);
    }
    state.busy.delete(row.id);
    await load();
  }

  /** @param {Api.Schedule} row @returns {any[]} */
  function actionsOf(row) {
    const path = `/api/schedules/${row.id}`, isOpen = opened() === row.id, common = { class: "small", disabled: state.busy.has(row.id) };
    const runs = h("button", { key: "runs", class: "small", "aria-expanded": String(isOpen), "aria-controls": `runs-${row.id}`, onclick: () => go(withQuery(state.route, { runs: isOpen ? null : row.id }), true) }, "Runs");
    if (!may("videos:render")) return [runs];
    return [
      h("button", { ...common, key: "switch", role: "switch", "aria-checked": String(row.enabled), "aria-label": `Run ${row.name} by itself`, title: row.enabled ? "Switch it off" : "Switch it on", onclick: () => act(row, () => patch(path, { enabled: !row.enabled })) }, h("i", { "aria-hidden": "true" })),
      h("button", { ...common, key: "now", title: "Ask for its render now; its times stay as they are", onclick: () => act(row, () => post(`${path}/run`)) }, "Run now"),
      runs,
      h("button", { ...common, key: "change", title: "Its name, times, and frames", onclick: () => changeSchedule(row, load) }, "Change"),
      h("button", { ...common, key: "delete", onclick: () => confirm("Delete this schedule?", "It is not run any more, and the list of its runs is deleted. What they have rendered stays.", "Delete", () => act(row, () => send(path, { method: "DELETE" }))) }, "Delete")];
  }

  /** @param {Api.Schedule} row */
  function place({ experiment_id: experiment, request: { dataset_id: dataset } }) {
    const names = [state.names.get(`/api/experiments/${experiment}`), state.names.get(`/api/datasets/${dataset}`)].filter(Boolean);
    if (!names.length) return "";
    return h("a", { class: "quiet cut", href: dataset ? to.dataset(dataset) : to.experiment(experiment) }, names.map((name, at) => [at ? " / " : "", h("bdi", null, name)]));
  }

  /** @param {Api.Schedule} row */
  function rowOf(row) {
    const job = row.last_run?.job_id, status = job ? state.statuses.get(job) : undefined;
    const runs = state.runs?.id === row.id ? state.runs : null, note = state.notes.get(row.id);
    return h("li", { key: row.id, class: "schedule", "data-schedule": row.id },
      h("span", { class: "thumb" }, status?.poster_url ? h("img", { src: status.poster_url, alt: "", loading: "lazy", decoding: "async" }) : status ? progressMark(status) : null),
      h("div", { class: "what" }, h("h2", { class: "cut" }, h("bdi", null, row.name)), place(row), row.owner === session.user ? null : h("span", { class: "quiet cut" }, "of ", h("bdi", null, row.owner))),
      h("div", { class: "spec num" }, times(row)),
      h("div", { class: "course" }, lastRun(row, state.statuses, note)),
      h("div", { class: "actions" }, actionsOf(row)),
      note ? h("p", { class: "row-note", role: "alert" }, note) : null,
      opened() === row.id ? h("div", { class: "runs", id: `runs-${row.id}`, key: "runs" }, runs ? runList(runs, row, state.statuses, loadRuns) : skeleton(2)) : null);
  }

  function body() {
    if (state.error) return problem(state.error, () => { state.error = null; load(); update(); });
    if (!state.rows) return skeleton(4);
    if (state.rows.length) return [h("ol", { class: "schedules", "aria-label": "Schedules", key: "schedules" }, state.rows.map(rowOf)), pages(state.route, state.next)];
    if (["experiment_id", "mine", "cursor"].some((name) => state.route.query.has(name))) return empty("No schedule is like this", h("p", null, h("a", { href: "#/schedules" }, "Show all")));
    return empty("Nothing is scheduled yet",
      h("p", null, may("videos:render") ? "Open a dataset, press Render…, and compose the video; “Schedule…” has it made every morning, or whenever you say." : "To schedule renders, the token needs videos:render."),
      h("p", null, h("a", { href: "#/experiments" }, "To the experiments")));
  }

  function head() {
    const { query } = state.route, experiment = query.get("experiment_id");
    return h("header", { class: "head" },
      h("p", { class: "trail" }, h("a", { href: "#/renders" }, "Renders")),
      h("h1", null, "Schedules", h("span", { class: "quiet num" }, state.total === null ? "" : count(state.total))),
      may("admin") ? h("label", { class: "check" }, h("input", { type: "checkbox", checked: query.has("mine"), onchange: (/** @type {any} */ event) => go(withQuery(state.route, { mine: event.target.checked, cursor: null })) }), "only mine") : null,
      experiment ? h("a", { class: "button small", title: "Show those of all", href: withQuery(state.route, { experiment_id: null, cursor: null }) }, "of ", h("bdi", { class: "cut" }, state.names.get(`/api/experiments/${experiment}`) ?? "one experiment"), " ×") : null);
  }

  load();
  return {
    title: () => "Schedules",
    keys: [{ keys: ["u"], does: "to the renders", run: () => go("#/renders") }],
    move(next) {
      const before = listed();
      state.route = next;
      if (state.runs?.id !== opened()) state.runs = null;
      if (before === listed()) loadRuns();
      else { state.rows = null; load(); }
      return true;
    },
    close() { close(); clearTimeout(timer); },
    render: () => [
      head(), may("videos:render") || !state.rows?.length ? null : h("p", { class: "quiet" }, "To run, change or delete schedules, the token needs videos:render."), body()],
  };
}
