/** One experiment: its datasets, and where a folder is dropped to become one. */

import { get, isPassing, list, patch, post, remove } from "../page/api.js";
import { to } from "../page/address.js";
import { confirm, form, pages } from "../page/controls.js";
import { h } from "../page/dom.js";
import { bytes, count, counted, moment, span } from "../page/format.js";
import { poster } from "../frames/pictures.js";
import { filesOf, startUpload, uploads } from "../forms/uploads.js";
import { empty, problem, skeleton } from "./states.js";

const AGAIN_MS = 1000;
const SHOWN_GUESTS = 5;

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, session, may, update, signal, go }) {
  const id = /** @type {string} */ (route.id);
  const state = { route, experiment: /** @type {Api.Experiment} */ (/** @type {unknown} */ (null)), datasets: /** @type {Api.Dataset[] | null} */ (null), shown: /** @type {unknown} */ (null), next: null, error: /** @type {unknown} */ (null), over: false, note: "" };
  let timer = 0;

  async function load() {
    clearTimeout(timer);
    const asked = state.route;
    let again = false;
    try {
      const [experiment, datasets] = await Promise.all([
        get(`/api/experiments/${id}`, { signal }),
        list(`/api/experiments/${id}/datasets`, { cursor: asked.query.get("cursor") }, signal),
      ]);
      if (asked !== state.route) return;
      Object.assign(state, { experiment, datasets: datasets.rows, shown: asked, next: datasets.next, error: null });
    } catch (error) {
      if (signal.aborted || asked !== state.route) return;
      again = state.shown === asked && isPassing(error);
      if (!again) state.error = error;
    }
    clearTimeout(timer);
    // A scan has no stream of its own.
    if (again || state.datasets?.some((each) => each.state === "scanning") || uploads.running) timer = setTimeout(load, AGAIN_MS);
    update();
  }

  const mayChange = () => may("catalog:write") && state.experiment && (may("admin") || state.experiment.owner === session.user);

  /** @param {FileSystemEntry[] | File[]} dropped */
  async function upload(dropped) {
    try {
      const { name, files } = await filesOf(dropped);
      state.note = files.length ? "" : "There are no files in it.";
      if (files.length) startUpload({ experiment: id, name, files }, load);
    } catch (error) {
      state.note = `It cannot be read: ${/** @type {Error} */ (error).message}`;
    }
    await load();
  }

  /** @param {Api.Dataset} row */
  const datasetRow = (row) => h("li", { class: "card", key: row.id },
    h("a", { href: to.dataset(row.id) },
      row.frame_count > 0 ? poster(row) : h("span", { class: "poster blank" }, h("span", { class: "quiet" }, row.state === "scanning" ? "being scanned" : row.state)),
      h("h2", { class: "cut" }, h("bdi", null, row.name))),
    row.state === "scanning" ? h("p", { class: "num state scanning" }, `scanning: ${counted(row.scanned, "file")} so far`)
      : row.state === "failed" ? h("p", { class: "reason" }, row.error)
        : h("p", { class: "num" }, counted(row.frame_count, row.kind === "video" ? "picture" : "frame"), row.width ? `, ${row.width}×${row.height}` : "", row.bytes ? `, ${bytes(row.bytes)}` : ""),
    h("p", { class: "num quiet foot" }, captured(row), row.unreadable_frames ? h("span", { class: "warn" }, `${count(row.unreadable_frames)} unreadable`) : null, row.gap_frames ? h("span", null, `${count(row.gap_frames)} missing`) : null));

  function body() {
    if (!state.datasets) return skeleton(4, "card");
    if (!state.datasets.length) {
      return mayChange()
        ? empty("Drop a folder here", h("p", null, "Frames (JPEG, PNG, WebP, TIFF) or source videos. They are put in the order in which people count: frame 2 before frame 10."), pickers())
        : empty("No datasets yet", h("p", null, "The owner of the experiment can add some."));
    }
    return [h("ul", { class: "cards", key: "cards" }, state.datasets.map(datasetRow)), pages(state.route, state.next)];
  }

  const pickers = () => h("p", { class: "buttons" },
    h("label", { class: "button" }, "Choose a folder", h("input", { type: "file", class: "hidden", webkitdirectory: true, multiple: true, onchange: (/** @type {any} */ event) => { upload([...event.target.files]); event.target.value = ""; } })),
    h("button", { onclick: () => nameSource(id, load) }, "Name a bucket"));

  /** @param {DragEvent} event */
  const drop = (event) => {
    event.preventDefault();
    state.over = false;
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
    upload(/** @type {FileSystemEntry[]} */ (entries));
  };

  load();
  return {
    title: () => state.experiment?.name ?? "Experiment",
    keys: [{ keys: ["u"], does: "up to the experiments", run: () => go("#/experiments") }],
    move(next) {
      state.route = next;
      load();
      return true;
    },
    close: () => clearTimeout(timer),
    render() {
      if (state.error) return problem(state.error, () => { state.error = null; load(); update(); });
      const experiment = state.experiment;
      return h("div", { class: state.over ? "drop over" : "drop",
        ondragover: (/** @type {DragEvent} */ event) => { if (mayChange()) { event.preventDefault(); if (!state.over) { state.over = true; update(); } } },
        ondragleave: (/** @type {any} */ event) => { if (!event.currentTarget.contains(event.relatedTarget)) { state.over = false; update(); } },
        ondrop: (/** @type {DragEvent} */ event) => { if (mayChange()) drop(event); update(); } },
      h("header", { class: "head" },
        h("p", { class: "trail" }, h("a", { href: "#/experiments" }, "Experiments")),
        h("h1", { class: "cut" }, experiment ? h("bdi", null, experiment.name) : "…"),
        may("videos:read") ? h("a", { class: "button push", href: `#/renders?experiment_id=${id}` }, "Renders") : null,
        mayChange() && state.datasets?.length ? pickers() : null,
        mayChange() ? h("button", { onclick: () => changeExperiment(experiment, load) }, "Change") : null,
        mayChange() ? h("button", { onclick: () => confirm("Delete this experiment?", "Its datasets and all renders of them are deleted, also those of others. Files that were uploaded stay in the store.", "Delete", async () => { try { await remove(`/api/experiments/${id}`); go("#/experiments"); } catch (error) { state.note = /** @type {Error} */ (error).message; update(); } }) }, "Delete") : null),
      experiment?.description ? h("p", { class: "lead wide" }, h("bdi", null, experiment.description)) : null,
      experiment ? h("p", { class: "quiet num" }, "of ", h("bdi", null, experiment.owner), `, ${experiment.visibility}, since ${experiment.created_at.slice(0, 10)}`, experiment.shared_with.length ? [experiment.visibility === "shared" ? ", shared with " : ", to be shared with ", h("bdi", { class: "guests" }, experiment.shared_with.slice(0, SHOWN_GUESTS).join(", ")), experiment.shared_with.length > SHOWN_GUESTS ? ` and ${count(experiment.shared_with.length - SHOWN_GUESTS)} more` : null] : null) : null,
      state.note ? h("p", { class: "notice", role: "alert" }, state.note) : null,
      body());
    },
  };
}

/** @param {Api.Dataset} dataset */
function captured({ captured_from: begin, captured_to: end }) {
  if (!begin || !end) return null;
  const seconds = (Date.parse(end) - Date.parse(begin)) / 1000;
  return h("span", { title: `${moment(begin)} to ${moment(end)}` }, seconds >= 1 ? `${begin.slice(0, 10)}, over ${span(seconds)}` : begin.slice(0, 10));
}

/** @param {Error | null} problem */
const refusal = (problem) => (problem ? h("p", { class: "notice", role: "alert" }, problem.message) : null);

/** @param {Api.Experiment} experiment @param {() => void} onDone */
function changeExperiment({ id, name, description, visibility, shared_with: guests }, onDone) {
  /** @param {any} value */
  const initially = (value) => (/** @type {any} */ field) => { field.value = value; };
  /** @param {Record<string, any>} fields */
  const save = (fields) => patch(`/api/experiments/${id}`, { ...fields, shared_with: namesIn(fields.shared_with) });
  form("Change the experiment", "Save", save, onDone, (problem) => [
    h("label", { for: "name" }, "Name"), h("input", { id: "name", name: "name", required: true, maxlength: 200, mount: initially(name) }),
    h("label", { for: "description" }, "Description"), h("textarea", { id: "description", name: "description", rows: 3, maxlength: 10000, mount: initially(description) }),
    h("label", { for: "visibility" }, "Who may see it"),
    h("select", { id: "visibility", name: "visibility", mount: initially(visibility) },
      [["private", "only the owner"], ["shared", "those it is shared with"], ["public", "everybody with a token"]].map(([value, text]) => h("option", { value }, text))),
    h("label", { for: "shared_with" }, "Shared with, a name on each line"),
    h("textarea", { id: "shared_with", name: "shared_with", rows: Math.min(Math.max(guests.length + 1, 3), 8), spellcheck: "false", autocomplete: "off", "aria-describedby": "sharing", mount: initially(guests.join("\n")) }),
    h("p", { class: "quiet", id: "sharing" }, "The names under which people sign in. They may look and render, not change; what only somebody who is taken off had asked for is cancelled."),
    refusal(problem),
  ]);
}

/** The names of a list, each once.
 * @param {string} text */
const namesIn = (text) => [...new Set(text.split("\n").map((name) => name.trim()).filter(Boolean))];

/** Frames that are in a store already.
 * @param {string} experiment @param {() => void} onDone */
function nameSource(experiment, onDone) {
  form("Frames in a bucket", "Scan", (fields) => post(`/api/experiments/${experiment}/datasets`, { ...fields, bucket: fields.bucket || null }), onDone, (problem) => [
    h("label", { for: "name" }, "Name of the dataset"), h("input", { id: "name", name: "name", required: true, maxlength: 200 }),
    h("label", { for: "bucket" }, "Bucket"), h("input", { id: "bucket", name: "bucket", placeholder: "the service’s own", maxlength: 63 }),
    h("label", { for: "prefix" }, "Prefix"), h("input", { id: "prefix", name: "prefix", required: true, placeholder: "2026-03-01/camera-1/" }),
    h("label", { for: "kind" }, "It has"), h("select", { id: "kind", name: "kind" }, h("option", { value: "frames" }, "frames"), h("option", { value: "video" }, "source videos")),
    refusal(problem),
  ]);
}

