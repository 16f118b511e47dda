/** Tables of the machines: workers, their devices, the queue, stages, and what has failed. */

import { h } from "../page/dom.js";
import { to } from "../page/address.js";
import { ago, count, counted, figure, moment, span } from "../page/format.js";

const LIVES = /** @type {Record<string, string>} */ ({ active: "takes tasks", cordoned: "cordoned: no new tasks", draining: "drains, and ends then", lost: "lost: no heartbeat", gone: "gone" });
const KINDS = /** @type {Record<string, string>} */ ({ segment: "parts of renders", assemble: "renders put together", scan: "scans", preview: "pictures", webhook: "webhooks" });
const FIGURES = /** @type {[string, string, string, number?][]} */ ([["utilisation_percent", "busy", "%"], ["temperature_celsius", "", "°C"], ["memory_used_bytes", "memory", "GB", 1e9], ["power_watts", "", "W"], ["load_1", "load", ""], ["cores", "", "cores"]]);

/** @typedef {{busy: Set<string>, notes: Map<string, string>}} Acting */
/** @typedef {[string, string, () => void][]} Actions */

/** @param {string} title @param {string[]} names @param {any[]} rows @param {string} [kind] */
const table = (title, names, rows, kind = "") => h("div", { class: "rows", tabindex: "0", role: "region", "aria-label": title }, h("table", { class: `answer num ${kind}` },
  h("thead", null, h("tr", null, names.map((name, place) => h("th", { key: place, scope: "col" }, name)))), h("tbody", null, rows)));

/** @param {Actions} actions @param {string} id @param {Acting} acting */
const buttons = (actions, id, acting) => h("td", { class: "right" },
  h("span", { class: "actions" }, actions.map(([name, title, run]) => h("button", { key: name, class: "small", title, disabled: acting.busy.has(id), onclick: run }, name))),
  acting.notes.has(id) ? h("p", { class: "reason", role: "alert" }, acting.notes.get(id)) : null);

/** @param {any[]} rows @param {(worker: any) => Actions} ordersTo @param {Acting} acting */
export function workers(rows, ordersTo, acting) {
  return table("Table of workers", ["Worker", "State", "Tasks", "Zone", "Memory", "Version", "Since", "Heard from", ""], rows.map((each) => h("tr", { key: each.id, class: `worker ${each.state}`, "data-worker": each.name },
    h("td", null, h("bdi", { class: "strong" }, each.name)),
    h("td", null, h("span", { class: each.state === "active" ? "" : each.state === "lost" || each.state === "gone" ? "bad" : "warn" }, LIVES[each.state] ?? each.state), each.trouble ? h("p", { class: "reason wrap" }, h("bdi", null, each.trouble)) : null,
      Math.abs(each.clock_offset_seconds ?? 0) > 30 ? h("p", { class: "reason" }, `its clock is ${span(Math.abs(each.clock_offset_seconds))} ${each.clock_offset_seconds > 0 ? "ahead" : "behind"}`) : null),
    h("td", null, `${count(each.running)} of ${counted(each.slots, "slot")}`), h("td", null, each.zone || "–"), h("td", null, each.memory_mb ? `${figure(each.memory_mb / 1024)} GiB` : "–"),
    h("td", null, `${each.version}, pipeline ${each.pipeline}`), h("td", { title: moment(each.started_at) }, ago(each.started_at)),
    h("td", null, each.state === "gone" ? ago(each.gone_at) : each.seen_seconds_ago < 5 ? "just now" : `${span(each.seen_seconds_ago)} ago`),
    buttons(ordersTo(each), each.id, acting))));
}

/** @param {any[]} rows */
export function devices(rows) {
  return h("ul", { class: "devices" }, rows.map((each) => h("li", { key: `${each.worker} ${each.device}`, class: "device" },
    h("p", { class: "name" }, h("span", { class: "strong" }, each.device), " ", h("bdi", null, each.model ?? ""), h("span", { class: `tag ${each.state}` }, each.state), h("span", { class: "quiet" }, " of ", h("bdi", null, each.worker))),
    each.reason ? h("p", { class: "reason" }, h("bdi", null, each.reason)) : null,
    h("p", { class: "facts num quiet" }, figuresOf(each.figures).map((text) => h("span", { key: text }, text)), Object.keys(each.unknown).length ? h("span", { title: Object.entries(each.unknown).map(([name, why]) => `${name}: ${why}`).join("\n") }, `${counted(Object.keys(each.unknown).length, "figure")} cannot be read`) : null),
    each.capabilities.length && each.state !== "absent" ? table(`Capabilities of ${each.worker} ${each.device}`, ["Stage", "What", "State", "Proven", "Speed", "Why not"], each.capabilities.map((/** @type {any} */ found) => h("tr", { key: `${found.stage} ${found.what}` },
      h("td", null, found.stage), h("td", null, found.what), h("td", { class: toneOf(found.state) }, found.state), h("td", null, found.proven_seconds_ago === null ? "not yet" : `${span(Math.round(found.proven_seconds_ago)) || "0 s"} ago`),
      h("td", null, found.megapixels_per_second === null ? "–" : `${figure(found.megapixels_per_second)} MP/s`), h("td", { class: "quiet wrap" }, h("bdi", null, found.reason ?? ""), found.faults ? ` (${counted(found.faults, "fault")})` : "")))) : null,
    each.sandbox_gaps.length ? h("p", { class: "quiet" }, "Walls missing: ", each.sandbox_gaps.join("; ")) : null)));
}

/** @param {string} state */
const toneOf = (state) => ({ ok: "", degraded: "warn", quarantined: "bad", unknown: "quiet", absent: "quiet" }[state] ?? "");

/** @param {Record<string, any>} figures */
function figuresOf(figures) {
  return Object.entries(figures).filter(([name, value]) => typeof value === "number" && !name.endsWith("_seconds_ago")).slice(0, 8).map(([name, value]) => {
    const known = FIGURES.find(([each]) => each === name);
    return known ? `${known[1]} ${figure(value / (known[3] ?? 1))} ${known[2]}`.trim() : name.endsWith("_bytes") ? `${name.slice(0, -6).replaceAll("_", " ")} ${figure(value / 1e9)} GB` : `${name.replaceAll("_", " ")} ${figure(value)}`;
  });
}

/** The queue by kind, with the age of the oldest, and what was finished of it.
 * @param {any} workload */
export function waiting({ queue, finished }) {
  const kinds = Object.keys(KINDS).filter((kind) => [...queue, ...finished].some((each) => each.kind === kind));
  if (!kinds.length) return h("p", { class: "quiet" }, "Nothing waits, nothing runs, and nothing was done in the last hour.");
  const of = (/** @type {string} */ kind, /** @type {string} */ state) => queue.find((/** @type {any} */ each) => each.kind === kind && each.state === state);
  const aged = (/** @type {any} */ each) => (each ? [count(each.count), h("span", { class: "quiet" }, `, oldest ${span(Math.round(each.oldest_seconds))}`)] : "–");
  return table("Table of the queue", ["Kind", "Wait", "Run", "Done in the last hour"], kinds.map((kind) => {
    const done = finished.filter((/** @type {any} */ each) => each.kind === kind).reduce((/** @type {number} */ sum, /** @type {any} */ each) => sum + each.count, 0);
    return h("tr", { key: kind }, h("td", null, KINDS[kind]), h("td", null, aged(of(kind, "queued"))), h("td", null, aged(of(kind, "running"))), h("td", null, count(done)));
  }));
}

/** Milliseconds a frame in each stage, of segments placed on a CPU and on GPUs.
 * @param {any} workload */
export function stageFigures({ stages }) {
  if (!stages.length) return h("p", { class: "quiet" }, "No part of a render was made in the last hour.");
  const kinds = /** @type {const} */ (["cpu", "gpu"]);
  const pace = (/** @type {string} */ stage, /** @type {string} */ kind) => {
    const rows = stages.filter((/** @type {any} */ each) => each.stage === stage && (each.device === "cpu") === (kind === "cpu"));
    const frames = rows.reduce((/** @type {number} */ sum, /** @type {any} */ each) => sum + each.frames, 0);
    return frames ? (1000 * rows.reduce((/** @type {number} */ sum, /** @type {any} */ each) => sum + each.seconds, 0)) / frames : null;
  };
  const names = [.../** @type {Set<string>} */ (new Set(stages.map((/** @type {any} */ each) => each.stage)))];
  const most = Math.max(...names.flatMap((name) => kinds.map((kind) => pace(name, kind) ?? 0)), 1e-9);
  return table("Table of stages", ["Stage", "On CPU, a frame", "On GPU, a frame"], names.map((name) => h("tr", { key: name }, h("td", null, name), kinds.map((kind) => {
    const ms = pace(name, kind);
    return h("td", { key: kind }, ms === null ? h("span", { class: "quiet" }, "none") : [h("span", { class: "bar inline", style: { "--done": ms / most } }), ` ${figure(ms)} ms`]);
  }))));
}

/** @param {any} workload */
export function told({ placements, fallbacks, failures }) {
  if (!placements.length && !fallbacks.length && !failures.length) return h("p", { class: "quiet" }, "No render was asked for in the last hour, and nothing fell back.");
  const rows = [
    ...placements.map((/** @type {any} */ each) => [`planned ${each.stage} ${each.device} ${each.reason}`, each.stage, `on ${each.device}`, counted(each.renders, "render"), each.reason, ""]),
    ...fallbacks.map((/** @type {any} */ each) => [`fallback ${each.stage} ${each.reason}`, each.stage, "fell back", counted(each.frames, "frame"), each.reason, "warn"]),
    ...failures.map((/** @type {any} */ each) => [`failed ${each.kind} ${each.device} ${each.code}`, KINDS[each.kind] ?? each.kind, `failed on ${each.device}`, counted(each.count, "attempt"), `${each.code}: ${each.reason}`, "warn"]),
  ];
  return table("Table of placements and failures", ["What", "Where", "How many", "Why"], rows.map(([key, what, where, many, why, tone]) => h("tr", { key }, h("td", null, what), h("td", { class: tone }, where), h("td", null, many), h("td", { class: "wrap" }, h("bdi", null, why)))));
}

/** @param {any[]} rows @param {(letter: any) => Actions} actionsOn @param {Acting} acting */
export function letters(rows, actionsOn, acting) {
  return table("Table of what has failed for good", ["Failed", "What", "Why", "Tries", ""], rows.map((each) => h("tr", { key: each.id },
    h("td", { title: moment(each.failed_at) }, ago(each.failed_at)),
    h("td", null, each.job_id ? h("a", { href: to.watch(each.job_id) }, `${each.task}${each.segment === null ? "" : ` ${each.segment}`} of a render`) : each.dataset_id ? h("a", { href: to.dataset(each.dataset_id) }, `${each.task} of a dataset`) : [each.task, each.url ? h("bdi", { class: "quiet cell" }, each.url) : null]),
    h("td", { class: "wrap" }, h("span", { class: "reason" }, each.code), " ", h("bdi", null, each.reason)), h("td", null, count(each.attempts)), buttons(actionsOn(each), each.id, acting))));
}
