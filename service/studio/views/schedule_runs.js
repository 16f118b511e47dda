/** What a schedule says of itself: its times, its last run, and all of them. */

import { to } from "../page/address.js";
import { h } from "../page/dom.js";
import { ago, count, counted, moment } from "../page/format.js";
import { ahead, cronInWords, timeIn, windowInWords } from "../forms/timetable.js";
import { empty } from "./states.js";

/** Those of one schedule; `next`: the cursor of the ones before.
 * @typedef {{id: string, rows: Api.ScheduleRun[], next: string | null, error: Error | null}} Runs */
/** @typedef {Map<string, Api.VideoStatus>} Statuses */

/** When it runs, on which clock, and what its runs show.
 * @param {Api.Schedule} schedule */
export function times(schedule) {
  const { cron, zone } = schedule, words = cronInWords(cron);
  return [
    h("p", null, words ? h("span", { title: cron }, words) : h("code", null, cron), h("span", { class: "quiet" }, ", ", zone.replaceAll("_", " "))),
    h("p", { class: "quiet" }, `shows ${windowInWords(schedule)}`),
  ];
}

/** The next time, and what became of the last one; `note`: what is said of it already.
 * @param {Api.Schedule} schedule @param {Statuses} statuses @param {string} [note] */
export function lastRun({ next_run_at: next, enabled, zone, last_run: run }, statuses, note) {
  const planned = next ? [h("span", { class: "strong" }, `Next ${ahead(next)}`), h("span", { class: "quiet", title: `${moment(next)} UTC` }, timeIn(next, zone))]
    : enabled ? h("span", { class: "warn" }, "It has no more times") : h("span", { class: "quiet" }, "Off: it runs when somebody asks for it");
  return [
    h("div", { class: "facts num next" }, planned),
    h("div", { class: "facts num last" }, run ? [h("span", { class: "quiet", title: timeIn(run.planned_at, zone) }, `Last ${ago(run.planned_at)}`), outcome(run, statuses)] : h("span", { class: "quiet" }, "It has not run yet")),
    run?.problem?.detail === note ? null : refusal(run),
  ];
}

/** @param {Runs} runs @param {Api.Schedule} schedule @param {Statuses} statuses @param {(cursor: string) => void} more */
export function runList({ rows, next, error }, { zone }, statuses, more) {
  const fault = error ? h("p", { class: "notice", role: "alert" }, error.message) : null;
  if (!rows.length) return fault ?? empty("It has not run yet", h("p", null, "It runs at its next time, or when you press “Run now”."));
  return [
    h("ol", { "aria-label": "Runs", key: "list" }, rows.map((run) => h("li", { key: run.id, class: `run ${run.state}` },
      h("span", { class: "num quiet" }, count(run.number)),
      h("span", { class: "num", title: `${moment(run.planned_at)} UTC` }, timeIn(run.planned_at, zone)),
      h("div", { class: "facts num" }, outcome(run, statuses), shown(run, zone)),
      refusal(run)))),
    next ? h("button", { class: "small", key: "more", onclick: () => more(next) }, "Earlier runs") : null, fault,
  ];
}

/** @param {Api.ScheduleRun} run @param {Statuses} statuses */
function outcome(run, statuses) {
  const { state, job_id: job, manual, missed, joined, retry_at: again } = run;
  return [
    job ? h("a", { href: to.watch(job), class: "its-render" }, courseOf(statuses.get(job)))
      : h("span", { class: state === "refused" ? "bad" : "warn" }, state === "refused" ? "refused" : again ? `waits, tried again ${ahead(again)}` : "begins"),
    manual ? h("span", { class: "tag" }, "asked for") : null,
    joined ? h("span", { class: "tag", title: "The same video was there already, or in the queue" }, "nothing new") : null,
    missed ? h("span", { class: "warn" }, `also for ${counted(missed, "missed time")}`) : null,
  ];
}

/** @param {Api.VideoStatus | undefined} render */
function courseOf(render) {
  if (!render) return "its render";
  const { status, frames_done: done, frames_total: total } = render;
  if (status === "succeeded") return `video of ${counted(total, "frame")}`;
  return status === "running" && total ? `rendering, ${Math.floor((100 * done) / total)} %` : `render ${status}`;
}

/** @param {Api.ScheduleRun} run @param {string} zone */
function shown({ window }, zone) {
  if (!window) return null;
  return h("span", { class: "quiet" }, `captured ${window.from ? `from ${timeIn(window.from, zone)} ` : ""}to ${timeIn(window.to, zone)}`);
}

/** Why it was refused, or has to wait.
 * @param {Api.ScheduleRun | null} run */
const refusal = (run) => (run?.problem ? h("p", { class: "reason" }, h("bdi", null, run.problem.errors?.[0]?.detail ?? run.problem.detail)) : null);
