/** Compose: all options of a render, beside the picture that it will have. The address is the recipe. */

import { get, isAbort, once, post, sendPatiently } from "../page/api.js";
import { to, withQuery } from "../page/address.js";
import { cropEditor, placeOf } from "../frames/crop.js";
import { h } from "../page/dom.js";
import { bytes, count, span } from "../page/format.js";
import { frameAddress } from "../frames/pictures.js";
import { commandsOf, flatten, groupsOf, keepRecipes, keptRecipes, optionsOf, propertiesOf } from "../forms/recipe.js";
import { timeline } from "../frames/timeline.js";
import { problem, skeleton } from "./states.js";

const PAUSE_MS = 250;
const ORIGINAL_WIDTH = 1280;
const DESCRIPTION = "/openapi-3.1.json";

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, update, signal, go, may }) {
  const id = /** @type {string} */ (route.id);
  const state = {
    route, dataset: /** @type {any} */ (null), document: /** @type {any} */ (null), groups: /** @type {[string, any[]][]} */ ([]), error: null,
    at: Number(route.query.get("frame")) || 0, preview: "", size: "", fault: /** @type {string | null} */ (null), waiting: false, wiped: false,
    answer: /** @type {any} */ (null), problem: /** @type {any} */ (null), busy: false, note: "", drawn: /** @type {any} */ (null),
  };
  let timer = 0, asked = new AbortController();

  async function load() {
    try {
      [state.dataset, state.document] = await Promise.all([get(`/api/datasets/${id}`, { signal }), once(DESCRIPTION)]);
      state.groups = groupsOf(state.document);
      state.at = Math.min(state.at, Math.max(state.dataset.frame_count - 1, 0));
      ask();
    } catch (error) {
      if (!signal.aborted) state.error = /** @type {any} */ (error);
    }
    update();
  }

  const fields = () => state.groups.flatMap(([, each]) => each);
  const body = () => ({ experiment_id: state.dataset.experiment_id, dataset_id: id, ...optionsOf(fields(), state.route.query) });

  /** The picture and the estimate of what is composed now; what was asked before is given up. */
  function ask() {
    clearTimeout(timer);
    asked.abort();
    asked = new AbortController();
    state.waiting = true;
    const mine = asked.signal;
    timer = setTimeout(() => { preview(mine); if (may("videos:render")) estimate(mine); }, PAUSE_MS);
  }

  /** @param {AbortSignal} mine */
  async function preview(mine) {
    const taken = propertiesOf(state.document, "RenderPreviewRequest");
    const options = Object.fromEntries(Object.entries(body()).filter(([name]) => name in taken));
    try {
      const answer = await sendPatiently(`/api/datasets/${id}/frames/${state.at}/preview`, { method: "POST", body: options, signal: mine }, 30);
      const blob = await answer.blob();
      if (mine.aborted) return;
      URL.revokeObjectURL(state.preview);
      Object.assign(state, { preview: URL.createObjectURL(blob), fault: null, waiting: false });
    } catch (error) {
      if (isAbort(error) || mine.aborted) return;
      Object.assign(state, { fault: /** @type {Error} */ (error).message, waiting: false });
      if (!may("videos:render")) state.problem = error;
    }
    update();
  }

  /** @param {AbortSignal} mine */
  async function estimate(mine) {
    try {
      const answer = await sendPatiently("/api/videos/generate", { method: "POST", body: { ...body(), dry_run: true }, signal: mine });
      Object.assign(state, { answer: await answer.json(), problem: null });
    } catch (error) {
      if (isAbort(error) || mine.aborted) return;
      Object.assign(state, { answer: null, problem: error });
    }
    if (!mine.aborted) update();
  }

  async function submit() {
    state.busy = true;
    update();
    try {
      go(to.watch((await post("/api/videos/generate", body())).job_id));
    } catch (error) {
      state.problem = error;
    }
    state.busy = false;
    update();
  }

  /** Other options, under this address.
   * @param {Record<string, any>} changes */
  function change(changes) {
    go(withQuery(state.route, changes), true);
  }

  /** @param {number} frame */
  function seek(frame) {
    const at = Math.min(Math.max(frame, 0), state.dataset.frame_count - 1);
    if (at !== state.at) change({ frame: at || null });
  }

  /** @param {any} box @param {boolean} done */
  function draw(box, done) {
    state.drawn = done ? null : box;
    if (done) change(flatten({ crop: box }));
    else update();
  }

  const frameSize = () => ({ width: state.dataset.width ?? 16, height: state.dataset.height ?? 9 });
  /** The crop, if the address has a whole one. */
  function crop() {
    if (state.drawn) return state.drawn;
    const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => state.route.query.get(`crop.${name}`));
    return width && height ? { x: Number(x), y: Number(y), width: Number(width), height: Number(height) } : null;
  }

  function pictures() {
    const frame = frameSize(), box = crop(), rotated = Number(state.route.query.get("rotate"));
    const wiped = state.wiped && !rotated && state.preview;
    const original = h("div", { class: "pane", key: "original", style: { "--ratio": frame.width / frame.height }, onpointermove: wiped ? wipe : null },
      h("div", { class: "sheet" }, h("img", { src: frameAddress(id, state.at, ORIGINAL_WIDTH), alt: `Frame ${state.at} as it is stored`, draggable: "false" }),
        wiped ? h("img", { key: "laid", class: "laid", src: state.preview, alt: "The render's picture", style: placeOf(box ?? { x: 0, y: 0, ...frame }, frame) }) : cropEditor(box, frame, draw)),
      h("span", { class: "caption" }, wiped ? "original | render" : "original: drag to crop"));
    return h("div", { class: `compare ${wiped ? "wiped" : ""}`, key: "compare" }, original,
      wiped ? null : h("div", { class: "pane", key: "preview", style: { "--ratio": frame.width / frame.height }, "aria-busy": String(state.waiting) },
        state.preview && !state.fault ? h("img", { class: "preview", src: state.preview, alt: "The picture that the render will have", onload: (/** @type {any} */ event) => { state.size = `${event.target.naturalWidth}×${event.target.naturalHeight}`; update(); } }) : null,
        state.fault ? h("p", { class: "fault", role: "alert" }, state.fault) : null,
        h("span", { class: "caption num" }, state.waiting ? "render: being made…" : `render ${state.size}`)));
  }

  /** @param {PointerEvent} event */
  function wipe(event) {
    const laid = /** @type {HTMLElement} */ (event.currentTarget).querySelector(".laid"), bounds = laid?.getBoundingClientRect();
    if (bounds) /** @type {HTMLElement} */ (laid).style.setProperty("--wipe", `${Math.min(Math.max((100 * (event.clientX - bounds.left)) / bounds.width, 0), 100)}%`);
  }

  function transport() {
    const { frame_count: total, gaps } = state.dataset;
    const marks = gaps.map((/** @type {any} */ gap) => ({ at: gap.after_index + 1, kind: "gap" }));
    return h("div", { class: "transport", key: "transport" },
      timeline({ total, at: state.at, marks, label: "Frame", text: `frame ${state.at} of ${total}`, onSeek: seek }),
      h("div", { class: "controls" },
        h("div", { class: "buttons tight" },
          h("button", { "aria-label": "One frame back", title: "Back (←)", onclick: () => seek(state.at - 1) }, "‹"),
          h("button", { "aria-label": "One frame on", title: "On (→)", onclick: () => seek(state.at + 1) }, "›")),
        h("output", { class: "counter num" }, count(state.at), h("span", { class: "quiet" }, ` / ${count(total - 1)}`)),
        h("div", { class: "buttons push" },
          h("button", { "aria-pressed": String(state.wiped), title: "One over the other (b)", onclick: toggleWipe }, "Wipe"),
          crop() ? h("button", { onclick: () => change({ "crop.x": null, "crop.y": null, "crop.width": null, "crop.height": null }) }, "No crop") : null)));
  }

  function toggleWipe() { state.wiped = !state.wiped; update(); }

  /** @param {any} field */
  function option(field) {
    const { name, schema } = field, value = state.route.query.get(name) ?? "";
    const pointer = `#/${name.replaceAll(".", "/")}`;
    const reason = state.problem?.errors?.find((/** @type {any} */ each) => each.pointer === pointer || (each.pointer && pointer.startsWith(`${each.pointer}/`)))?.detail;
    const shown = name.replace(/^[^.]+\.(?=.)/, (/** @type {string} */ all) => (all === "crop." || all === "tone." || all === "overlay." || all === "frames." ? all.slice(0, -1) + " " : all)).replaceAll(/[_.]/g, " ");
    return h("div", { class: `option ${value ? "given" : ""}`, key: name, "data-field": name },
      h("label", { for: name }, shown), control(field, value, reason),
      reason ? h("p", { class: "reason", id: `${name} reason`, role: "alert" }, reason) : null,
      schema.description ? h("p", { class: "hint", id: `${name} hint` }, schema.description) : null);
  }

  /** @param {any} field @param {string} value @param {string} [reason] */
  function control({ name, schema, items }, value, reason) {
    const set = (/** @type {any} */ event) => change({ [name]: event.target.value });
    const common = { id: name, "aria-describedby": schema.description ? `${name} hint` : null, "aria-invalid": reason ? "true" : null };
    const usual = schema.default ?? null;
    if (items) return h("div", { class: "several", id: name }, items.map((/** @type {string} */ each) => h("label", { class: "check", key: each }, h("input", { type: "checkbox", checked: value.split(",").includes(each), onchange: (/** @type {any} */ event) => change({ [name]: items.filter((/** @type {string} */ one) => (one === each ? event.target.checked : value.split(",").includes(one))).join(",") }) }), each.replaceAll("_", " "))));
    if (schema.type === "boolean") return h("input", { ...common, type: "checkbox", checked: value === "true", onchange: (/** @type {any} */ event) => change({ [name]: event.target.checked }) });
    if (schema.enum) return h("select", { ...common, value, onchange: set }, h("option", { value: "", key: "" }, usual === null ? "as it fits" : `${usual} (usual)`), schema.enum.filter((/** @type {any} */ each) => each !== usual).map((/** @type {any} */ each) => h("option", { value: String(each), key: each }, String(each))));
    const isNumber = schema.type === "number" || schema.type === "integer";
    return h("input", { ...common, type: isNumber ? "number" : "text", step: schema.type === "integer" ? 1 : "any", min: schema.minimum ?? null, max: schema.maximum ?? null, maxlength: schema.maxLength ?? null, placeholder: name === "fps" ? "30" : usual ?? "", value, onchange: set });
  }

  function offer() {
    const { answer, problem: refused } = state, estimated = answer?.estimate;
    const options = body(), commands = commandsOf(options), pace = options.fps;
    const unplaced = refused && !refused.errors?.some((/** @type {any} */ each) => each.pointer);
    return h("section", { class: "offer", key: "offer", "aria-label": "Estimate" },
      h("p", { class: "num estimate", role: "status" }, refused ? h("span", { class: "bad" }, refused.message) : estimated ? `${count(estimated.frames)} frames${pace ? `, ${span(estimated.frames / pace)}` : ""}, ${state.size || "…"}, about ${bytes(estimated.bytes)}, ready in ${span(Math.max(estimated.seconds, 1))}${estimated.reused_frames ? `; ${count(estimated.reused_frames)} frames are reused` : ""}` : "…"),
      unplaced ? null : answer ? h("dl", { class: "table" }, Object.entries(answer.plan).map(([stage, place]) => [h("dt", { key: stage }, stage), h("dd", { key: `${stage} is` }, `${/** @type {any} */ (place).device}: ${/** @type {any} */ (place).reason}`)])) : null,
      may("videos:render") ? h("button", { class: "primary", disabled: state.busy || Boolean(refused), onclick: submit }, "Render") : h("p", { class: "quiet" }, "To render, the token needs videos:render."),
      h("div", { class: "buttons", role: "group", "aria-label": "Copy as" }, Object.entries(commands).map(([name, text]) => h("button", { class: "small", key: name, title: `Copy as ${name}`, onclick: () => copy(name, text) }, `Copy as ${name}`))),
      state.note ? h("p", { class: "quiet", role: "status" }, state.note) : null, recipes());
  }

  /** @param {string} name @param {string} text */
  async function copy(name, text) {
    state.note = await navigator.clipboard.writeText(text).then(() => `Copied as ${name}.`, () => "The browser does not let the page copy.");
    update();
  }

  function recipes() {
    const kept = keptRecipes();
    /** @param {any} event */
    const keep = (event) => {
      event.preventDefault();
      const name = event.target.elements.recipe.value.trim();
      const query = new URLSearchParams(state.route.query);
      query.delete("frame");
      if (name) keepRecipes({ ...kept, [name]: query.toString() });
      event.target.reset();
      update();
    };
    const apply = (/** @type {string} */ query) => go(`#/compose/${id}?${query}${state.at ? `&frame=${state.at}` : ""}`);
    return h("div", { key: "recipes" }, h("form", { class: "buttons tight", onsubmit: keep }, h("input", { id: "recipe", "aria-label": "Name of these options", placeholder: "Name of these options" }), h("button", null, "Keep")),
      Object.entries(kept).map(([name, query]) => h("div", { class: "buttons tight", key: name }, h("button", { class: "small", onclick: () => apply(query) }, h("bdi", { class: "cut" }, name)), h("button", { class: "small", "aria-label": `Remove ${name}`, onclick: () => { const { [name]: _gone, ...rest } = kept; keepRecipes(rest); update(); } }, "×"))));
  }

  const form = () => h("div", { class: "options", key: "options" }, state.groups.map(([title, each]) => {
    const given = each.filter((field) => state.route.query.has(field.name)).length;
    return h("details", { key: title, mount: (/** @type {HTMLDetailsElement} */ element) => { element.open = given > 0 || title === "How fast" || title === "How large"; } }, h("summary", null, title, given ? h("span", { class: "quiet num" }, `  ${given} set`) : null), each.map(option));
  }));

  load();
  return {
    title: () => `${state.dataset?.name ?? "Dataset"}, compose`,
    keys: [
      { keys: ["ArrowRight", "ArrowLeft"], does: "one frame on, back; on the crop: move it, with Shift change its size", run: (key) => seek(state.at + (key === "ArrowRight" ? 1 : -1)) },
      { keys: ["Shift+ArrowRight", "Shift+ArrowLeft"], does: "ten frames", run: (key) => seek(state.at + (key.endsWith("Right") ? 10 : -10)) },
      { keys: ["Home", "End"], does: "the first, the last frame", run: (key) => seek(key === "Home" ? 0 : state.dataset.frame_count - 1) },
      { keys: ["c"], does: "to the crop", run: () => /** @type {HTMLElement | null} */ (document.querySelector(".crop"))?.focus() },
      { keys: ["b"], does: "the render's picture over the original", run: toggleWipe },
      { keys: ["u"], does: "up to the dataset", run: () => go(to.dataset(id, state.at)) },
    ],
    move(next) {
      state.route = next;
      state.at = Math.min(Number(next.query.get("frame")) || 0, Math.max((state.dataset?.frame_count ?? 1) - 1, 0));
      if (state.dataset) ask();
      return true;
    },
    close() { clearTimeout(timer); asked.abort(); URL.revokeObjectURL(state.preview); },
    render() {
      if (state.error) return problem(state.error, () => { state.error = null; load(); });
      const { dataset } = state;
      return [h("header", { class: "head" }, h("p", { class: "trail cut" }, h("a", { href: to.dataset(id, state.at) }, "Frames"), " / Compose"), h("h1", { class: "cut" }, dataset ? h("bdi", null, dataset.name) : "…")),
        dataset && state.groups.length ? h("div", { class: "compose" }, h("div", { class: "look" }, pictures(), transport()), h("aside", { class: "side", "aria-label": "Options" }, offer(), form())) : skeleton(1, "stage")];
    },
  };
}
