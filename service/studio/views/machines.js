/** Machines: what the service is made of and how it fares, asked again every few seconds. */

import { address, get, post, Problem, send } from "../page/api.js";
import { confirm } from "../page/controls.js";
import { h } from "../page/dom.js";
import { ago } from "../page/format.js";
import { devices, letters, stageFigures, told, waiting, workers } from "./machine_tables.js";
import { empty, problem, skeleton } from "./states.js";

const AGAIN_MS = 4000;
const MOST_LETTERS = 50;
const CHECKS = /** @type {Record<string, string>} */ ({ object_store: "object store", ollama: "language models" });
const VERDICTS = /** @type {Record<string, string>} */ ({ healthy: "Everything that is needed is there.", degraded: "It works, but something should be looked at.", unhealthy: "Something is missing that the service needs." });
const STATES = /** @type {Record<string, string>} */ ({ ok: "", degraded: "warn", failed: "bad", absent: "quiet" });

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ may, update, signal }) {
  const state = {
    /** @type {any} */ health: null, /** @type {any[]} */ workers: [], /** @type {any[]} */ devices: [], workload: /** @type {any} */ (null), letters: /** @type {any[] | null} */ (null),
    /** @type {Map<string, any>} */ seen: new Map(), error: /** @type {any} */ (null), at: "", busy: new Set(), notes: new Map(),
  };
  let timer = 0;

  async function load() {
    clearTimeout(timer);
    try {
      const [health, found, devices_, workload, dead] = await Promise.all([readHealth(), get("/api/workers", { signal }), get("/api/devices", { signal }), get("/api/workload", { signal }),
        may("videos:read") ? get(address("/api/dead-letters", { all: true, limit: MOST_LETTERS }), { signal }) : null]);
      Object.assign(state, { health, workers: withGone(found), devices: devices_, workload, letters: dead, error: null, at: new Date().toISOString() });
    } catch (error) {
      if (signal.aborted) return;
      state.error = error;
    }
    if (!document.hidden) timer = setTimeout(load, AGAIN_MS);
    update();
  }

  /** An unhealthy service says so with 503, and its report all the same. */
  async function readHealth() {
    try {
      return await get("/health", { signal });
    } catch (error) {
      if (error instanceof Problem && error.document.checks) return error.document;
      throw error;
    }
  }

  /** Those that were here while the page was open stay listed when they end.
   * @param {any[]} found */
  function withGone(found) {
    const present = new Set(found.map(({ id }) => id));
    const now = new Date().toISOString();
    for (const [id, worker] of state.seen) if (!present.has(id)) state.seen.set(id, { ...worker, state: "gone", running: 0, gone_at: worker.gone_at ?? now });
    for (const worker of found) state.seen.set(worker.id, worker);
    return [...state.seen.values()].sort((one, other) => one.name.localeCompare(other.name));
  }

  /** @param {string} id @param {() => Promise<any>} action */
  async function act(id, action) {
    state.busy.add(id);
    state.notes.delete(id);
    update();
    try {
      await action();
    } catch (error) {
      state.notes.set(id, /** @type {Error} */ (error).message);
    }
    state.busy.delete(id);
    await load();
  }

  /** @param {any} worker @returns {[string, string, () => void][]} */
  function ordersTo({ id, name, state: now }) {
    if (!may("ops:write") || now === "lost" || now === "gone" || now === "draining") return [];
    const tell = (/** @type {string} */ order) => act(id, () => post(`/api/workers/${id}/${order}`));
    return [
      now === "cordoned" ? ["Uncordon", "give it tasks again", () => tell("uncordon")] : ["Cordon", "give it no new tasks", () => tell("cordon")],
      ["Drain", "let it finish and end", () => confirm("Drain this worker?", `${name} finishes what it runs and ends. It cannot be undone.`, "Drain", () => tell("drain"))],
    ];
  }

  /** @param {any} letter @returns {[string, string, () => void][]} */
  function actionsOn(letter) {
    if (!may("videos:render")) return [];
    const tell = (/** @type {string} */ what) => act(letter.id, () => send(`/api/dead-letters/${letter.id}/${what}`, { method: "POST" }));
    const needsMore = letter.task === "scan" && !may("catalog:write");
    return [...(needsMore ? [] : /** @type {[string, string, () => void][]} */ ([["Retry", "queue it again, with all its attempts", () => tell("retry")]])), ["Dismiss", "take it off this list; what failed stays failed", () => tell("dismiss")]];
  }

  function onVisibility() {
    clearTimeout(timer);
    if (!document.hidden) load();
  }

  function body() {
    if (state.error && !state.workload) return problem(state.error, () => { state.error = null; load(); });
    if (!state.workload) return skeleton(8);
    return h("div", { class: "machines" },
      health(state.health),
      section("Workers", state.workers.length ? workers(state.workers, ordersTo, state) : empty("No worker", h("p", null, "Renders wait in the queue until one begins: ", h("code", null, "reelmill worker"), "."))),
      h("div", { class: "halves" }, section("The queue", waiting(state.workload)), section("CPU beside GPU, the last hour", stageFigures(state.workload))),
      section("Where stages ran, and what went another way", told(state.workload)),
      state.letters ? section("Failed for good", state.letters.length ? letters(state.letters, actionsOn, state) : h("p", { class: "quiet" }, "Nothing has failed for good, or all of it was retried or dismissed.")) : null,
      section("Devices", state.devices.length ? devices(state.devices) : h("p", { class: "quiet" }, "No live worker has told of its devices.")));
  }

  document.addEventListener("visibilitychange", onVisibility);
  load();
  return {
    title: () => "Machines",
    keys: [{ keys: ["r"], does: "ask again now", run: () => { load(); } }],
    move: () => true,
    close() { clearTimeout(timer); document.removeEventListener("visibilitychange", onVisibility); },
    render: () => [
      h("header", { class: "head" }, h("h1", null, "Machines"), state.health?.version ? h("span", { class: "quiet num" }, `version ${state.health.version}`) : null,
        h("span", { class: "quiet num push", title: state.at }, state.error && state.workload ? h("span", { class: "warn" }, `not answered since ${ago(state.at)}`) : state.at ? "live" : "")),
      body()],
  };
}


/** @param {string} title @param {any} content */
const section = (title, content) => h("section", { class: "part", key: title, "aria-label": title }, h("h2", null, title), content);

/** @param {any} report */
function health({ status, checks }) {
  return h("section", { class: "part health", key: "health", "aria-label": "Health" }, h("h2", null, "Health"),
    h("p", { class: `verdict ${status}` }, h("span", { class: "lamp", "aria-hidden": "true" }), h("span", { class: "strong" }, status), " ", VERDICTS[status]),
    h("ul", { class: "checks" }, Object.entries(checks).map(([name, check]) => h("li", { key: name },
      h("span", { class: "name" }, CHECKS[name] ?? name), h("span", { class: `verdict-of ${STATES[check.status]}` }, check.status === "absent" ? "not used" : check.status),
      h("span", { class: "quiet detail" }, h("bdi", null, check.detail ?? "")), h("span", { class: "quiet num" }, check.latency_ms === undefined ? "" : `${Math.round(check.latency_ms)} ms`)))));
}
