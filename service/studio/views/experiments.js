/** Experiments: cards, found by text, in the order that one likes. */

import { list, post } from "../page/api.js";
import { to, withQuery } from "../page/address.js";
import { dialog, pages } from "../page/controls.js";
import { h } from "../page/dom.js";
import { ago, bytes, count, counted, moment, span } from "../page/format.js";
import { poster } from "../frames/pictures.js";
import { empty, problem, skeleton } from "./states.js";

const PAGE_CARDS = 24;
const ORDERS = [["-created_at", "newest first"], ["created_at", "oldest first"], ["name", "by name"], ["-name", "by name, from the end"]];
const TYPING_PAUSE_MS = 250;

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, may, update, signal, go }) {
  const state = { route, rows: /** @type {Api.Experiment[] | null} */ (null), next: null, total: /** @type {number | null} */ (null), error: /** @type {unknown} */ (null), facts: new Map() };
  let typing = 0;

  async function load() {
    const asked = state.route, query = asked.query;
    try {
      const filter = { q: query.get("q"), sort: query.get("sort"), mine: query.get("mine"), cursor: query.get("cursor"), limit: PAGE_CARDS, count: "exact" };
      const found = await list("/api/experiments", filter, signal);
      if (asked !== state.route) return;
      Object.assign(state, { rows: found.rows, next: found.next, total: found.total, error: null });
    } catch (error) {
      if (signal.aborted) return;
      state.error = error;
    }
    update();
  }

  /** What a card says of its datasets and renders: asked for when it comes into sight.
   * @param {string} id */
  async function loadFacts(id) {
    if (state.facts.has(id)) return;
    state.facts.set(id, null);
    try {
      const [datasets, renders] = await Promise.all([
        list(`/api/experiments/${id}/datasets`, { limit: 50 }, signal),
        may("videos:read") ? list("/api/videos", { experiment_id: id, limit: 1 }, signal) : { rows: [] },
      ]);
      state.facts.set(id, { datasets: datasets.rows, more: datasets.next !== null, render: renders.rows[0] ?? null });
    } catch {
      state.facts.delete(id);
    }
    update();
  }

  /** @param {Api.Experiment} row */
  function card(row) {
    const facts = state.facts.get(row.id);
    const first = facts?.datasets.find((/** @type {any} */ each) => each.frame_count > 0);
    return h("li", { class: "card", key: row.id, mount: (/** @type {Element} */ element) => whenSeen(element, () => loadFacts(row.id)) },
      h("a", { href: to.experiment(row.id) },
        first ? poster(first) : h("span", { class: "poster blank" }, facts ? h("span", { class: "quiet" }, facts.datasets.length ? "no frames yet" : "empty") : null),
        h("h2", { class: "cut" }, h("bdi", null, row.name))),
      facts ? factsOf(facts) : h("p", { class: "num quiet" }, " "),
      h("p", { class: "num quiet foot" }, h("span", { title: moment(row.created_at) }, ago(row.created_at)), row.visibility === "private" ? null : h("span", { class: "tag" }, row.visibility)));
  }

  function body() {
    if (state.error) return problem(state.error, () => { state.error = null; load(); update(); });
    if (!state.rows) return skeleton(8, "card");
    if (!state.rows.length) return nothing();
    return [h("ul", { class: "cards", key: "cards" }, state.rows.map(card)), pages(state.route, state.next)];
  }

  function nothing() {
    if (state.route.query.get("q")) return empty("No experiment is called so", h("p", null, "The text is looked for in names and descriptions."), h("p", null, h("a", { href: "#/experiments" }, "Show all")));
    const make = may("catalog:write") ? [h("p", null, "An experiment holds datasets: folders of frames, or source videos."), h("p", null, h("button", { class: "primary", onclick: make_ }, "Make one"))] : h("p", null, "When somebody shares one with you, it is here.");
    return empty("No experiments yet", make);
  }

  const make_ = () => makeExperiment((row) => go(to.experiment(row.id)));
  load();
  return {
    title: () => "Experiments",
    keys: may("catalog:write") ? [{ keys: ["n"], does: "make an experiment", run: make_ }] : [],
    move(next) {
      state.route = next;
      load();
      return true;
    },
    close: () => clearTimeout(typing),
    render: () => [
      h("header", { class: "head" },
        h("h1", null, "Experiments", h("span", { class: "quiet num" }, state.total === null ? "" : count(state.total))),
        h("input", { type: "search", placeholder: "Search", "aria-label": "Search names and descriptions", maxlength: 200, mount: (/** @type {any} */ field) => { field.value = state.route.query.get("q") ?? ""; },
          oninput: (/** @type {any} */ event) => { clearTimeout(typing); typing = setTimeout(() => go(withQuery(state.route, { q: event.target.value, cursor: null }), true), TYPING_PAUSE_MS); } }),
        h("select", { "aria-label": "Order", value: state.route.query.get("sort") ?? "-created_at", onchange: (/** @type {any} */ event) => go(withQuery(state.route, { sort: event.target.value, cursor: null })) },
          ORDERS.map(([value, name]) => h("option", { value, selected: (state.route.query.get("sort") ?? "-created_at") === value }, name))),
        may("catalog:write") ? h("button", { class: "primary push", onclick: make_ }, "New experiment") : null),
      body(),
    ],
  };
}

/** @param {{datasets: Api.Dataset[], more: boolean, render: Api.VideoStatus | null}} facts */
function factsOf({ datasets, more, render }) {
  const frames = datasets.reduce((sum, each) => sum + each.frame_count, 0);
  const size = datasets.reduce((sum, each) => sum + each.bytes, 0);
  const times = datasets.flatMap(({ captured_from: from, captured_to: to_ }) => (from && to_ ? [[Date.parse(from), Date.parse(to_)]] : []));
  const seconds = times.length ? (Math.max(...times.map(([, end]) => end)) - Math.min(...times.map(([begin]) => begin))) / 1000 : 0;
  const states = ["scanning", "failed"].filter((each) => datasets.some((dataset) => dataset.state === each));
  return [
    h("p", { class: "num" }, counted(frames, "frame") + (more ? "+" : ""), datasets.length > 1 ? ` in ${count(datasets.length)} datasets` : "", frames ? `, ${bytes(size)}` : "", seconds >= 1 ? `, over ${span(seconds)}` : ""),
    h("p", { class: "num quiet" }, states.map((each) => h("span", { class: `state ${each}`, key: each }, `${each} `)), render ? `render ${render.status === "running" ? `${Math.floor((100 * render.frames_done) / (render.frames_total || 1))} %` : render.status}, ${ago(render.created_at)}` : "not rendered yet"),
  ];
}

/** @param {Element} element @param {() => void} run */
function whenSeen(element, run) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    run();
  }, { rootMargin: "300px" });
  observer.observe(element);
  return () => observer.disconnect();
}

/** @param {(row: Api.Experiment) => void} onMade */
function makeExperiment(onMade) {
  const state = { error: /** @type {Error | null} */ (null), busy: false };
  dialog("New experiment", (close, update) => {
    /** @param {SubmitEvent} event */
    const submit = async (event) => {
      event.preventDefault();
      const fields = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
      Object.assign(state, { busy: true, error: null });
      update();
      try {
        const row = await post("/api/experiments", Object.fromEntries(fields));
        close();
        onMade(row);
      } catch (error) {
        Object.assign(state, { busy: false, error });
        update();
      }
    };
    return h("form", { onsubmit: submit },
      h("label", { for: "name" }, "Name"), h("input", { id: "name", name: "name", required: true, maxlength: 200, autocomplete: "off" }),
      h("label", { for: "description" }, "Description"), h("textarea", { id: "description", name: "description", rows: 3, maxlength: 10000 }),
      h("label", { for: "visibility" }, "Who may see it"),
      h("select", { id: "visibility", name: "visibility" }, h("option", { value: "private" }, "only I"), h("option", { value: "public" }, "everybody with a token")),
      state.error ? h("p", { class: "notice", role: "alert" }, state.error.message) : null,
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: close }, "Cancel"), h("button", { class: "primary", disabled: state.busy }, "Make it")));
  });
}
