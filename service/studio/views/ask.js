/** Ask: the database by choosing, or in plain words. The query is in the address. */

import { post, get, Problem } from "../page/api.js";
import { withQuery } from "../page/address.js";
import { pages } from "../page/controls.js";
import { h } from "../page/dom.js";
import { counted } from "../page/format.js";
import { newDraft, toDocument, toDraft } from "../queries/document.js";
import { narrowerThan } from "../queries/narrower.js";
import { queryBuilder } from "../queries/builder.js";
import { rowsTable } from "../queries/rows.js";
import { empty, problem, skeleton } from "./states.js";

const EXAMPLES = ["latest experiments", "how many experiments are there?"];
const FIRST_TABLE = "experiments";
const STEPS = /** @type {Record<string, string>} */ ({ common: "recognised, without a model", classify: "what kind of question", facts: "names and times were looked up", read: "read, without a model", document: "the query was written", query: "the query ran", render: "a render was prepared", words: "the answer was put into words" });

/** @param {import("../main.js").Context} context @returns {import("../main.js").View} */
export function open({ route, may, update, signal, go }) {
  const state = {
    route, tables: /** @type {any[] | null} */ (null), draft: newDraft(FIRST_TABLE), asked: /** @type {any} */ (null), answer: /** @type {any} */ (null), reply: /** @type {any} */ (null),
    error: /** @type {any} */ (null), refusal: /** @type {any} */ (null), silence: /** @type {any} */ (null), busy: false,
  };
  let asking = new AbortController();

  async function begin() {
    try {
      state.tables = await get("/api/database/tables", { signal });
      show();
    } catch (error) {
      if (!signal.aborted) state.error = error;
    }
    update();
  }

  /** What the address asks; what was asked before is given up. */
  function show() {
    const { query } = state.route, text = query.get("query"), question = query.get("question");
    asking.abort();
    asking = new AbortController();
    Object.assign(state, { answer: null, refusal: null, silence: null, reply: null, asked: null, busy: false });
    if (text) return run(text);
    if (question && may("agent:ask")) return ask(question);
    return update();
  }

  /** @param {string} text a document, as the address has it */
  async function run(text) {
    const document = documentOf(text);
    if (!document) return Object.assign(state, { refusal: new Problem(-1, { title: "The address holds no query", detail: "What follows `query=` is not a JSON document." }) });
    Object.assign(state, { asked: document, draft: toDraft(document) });
    const cursor = state.route.query.get("cursor");
    await working("refusal", async (mine) => ({ answer: await post("/api/database/query", cursor ? { ...document, cursor } : document, mine) }));
  }

  /** @param {string} question */
  async function ask(question) {
    await working("silence", async (mine) => {
      const reply = await post("/api/agent/query", { query: question }, mine);
      if (!reply.document) return { reply };
      return { reply, draft: toDraft(reply.document), answer: { table: reply.document.table, columns: columnsOf(reply), rows: reply.rows, truncated: reply.truncated, next_cursor: null } };
    });
  }

  /** What has been overtaken by another question is not shown.
   * @param {string} fault what its error is @param {(mine: AbortSignal) => Promise<any>} work finds what is to be shown */
  async function working(fault, work) {
    const mine = asking.signal;
    state.busy = true;
    update();
    const found = await work(mine).catch((error) => ({ [fault]: error }));
    if (mine.aborted) return;
    Object.assign(state, found, { busy: false });
    update();
  }

  /** Types of the columns of a reply, which has rows only.
   * @param {any} reply */
  function columnsOf({ document, rows }) {
    const types = new Map(tableOf(document.table)?.columns.map((/** @type {any} */ each) => [each.name, each.type]));
    const names = rows.length ? Object.keys(rows[0]) : document.columns ?? [];
    return names.map((/** @type {string} */ name) => ({ name, type: types.get(name) ?? (typeof rows[0]?.[name] === "number" ? "number" : "text") }));
  }

  /** @param {string} name */
  const tableOf = (name) => state.tables?.find((each) => each.name === name);

  /** @param {any} document */
  function goTo(document) {
    const address = withQuery(state.route, { query: JSON.stringify(document), question: null, cursor: null });
    if (address === location.hash) show();
    else go(address);
  }

  const submit = () => goTo(toDocument(state.draft, tableOf(state.draft.table)));

  /** @param {import("../queries/narrower.js").Narrower} narrower */
  async function narrow(narrower) {
    const mine = asking.signal;
    try {
      const document = await narrower.document();
      if (!mine.aborted) goTo(document);
    } catch (error) {
      if (mine.aborted) return;
      state.refusal = error;
      update();
    }
  }

  function questionForm() {
    if (!may("agent:ask")) return null;
    /** @param {any} event */
    const put = (event) => {
      event.preventDefault();
      const question = String(new FormData(event.currentTarget).get("question")).trim();
      if (question) askFor(question);
    };
    return h("form", { class: "question", key: "question", onsubmit: put },
      h("input", { type: "search", name: "question", "aria-label": "A question in plain words", placeholder: "Ask in plain words", maxlength: 4000, autocomplete: "off", mount: (/** @type {any} */ field) => { field.value = state.route.query.get("question") ?? ""; } }),
      h("button", { disabled: state.busy }, "Ask in words"));
  }

  /** @param {string} question */
  function askFor(question) {
    const address = withQuery(state.route, { question, query: null, cursor: null });
    if (address === location.hash) show();
    else go(address);
  }

  /** Why there is no answer in words: in those of the service. */
  function silence() {
    const known = state.silence instanceof Problem ? state.silence : null;
    return h("section", { class: "notice", role: "alert", key: "silence" }, h("p", { class: "strong" }, known?.title ?? "No answer"), h("p", null, String(state.silence.message)), h("p", { class: "quiet" }, "Choosing a table and conditions needs no model."));
  }

  function replied() {
    const { answer, steps, suggested_render: render } = state.reply;
    return h("section", { class: "reply", key: "reply", "aria-label": "Answer" },
      h("p", { class: "lead wide" }, h("bdi", null, answer)),
      render ? h("p", { class: "buttons" }, h("a", { class: "button primary", href: composeAddress(render) }, "Open in Compose"), h("span", { class: "quiet" }, "Prepared, not started.")) : null,
      h("details", null, h("summary", { class: "quiet" }, `How it was found: ${counted(steps.length, "step")}`),
        h("ol", { class: "steps num" }, steps.map((/** @type {any} */ step, /** @type {number} */ place) => h("li", { key: place, class: step.outcome === "done" ? "" : "warn" }, STEPS[step.name] ?? step.name, step.model ? [" by ", h("bdi", null, step.model)] : null, `, ${Math.round(step.ms)} ms`, step.outcome === "done" ? "" : `: ${step.outcome.replace("_", " ")}`, step.detail ? h("bdi", { class: "quiet" }, ` ${step.detail}`) : null)))));
  }

  function refused() {
    const known = state.refusal;
    if (!(known instanceof Problem) || known.status === 0) return problem(known, show);
    const narrower = state.asked ? narrowerThan(state.asked, known, tableOf(state.asked.table)) : [];
    return h("section", { class: "refusal", role: "alert", key: "refusal" }, h("h2", null, known.title), h("p", null, known.message),
      h("ul", { class: "reasons" }, known.errors.filter((each) => each.pointer !== "#").map((each, place) => h("li", { key: place }, h("code", null, each.pointer ?? each.parameter ?? ""), " ", known.message.includes(each.detail) ? null : each.detail))),
      narrower.length ? h("div", { class: "buttons" }, narrower.map((each) => h("button", { key: each.name, onclick: () => narrow(each) }, each.name))) : h("button", { onclick: show }, "Try again"));
  }

  function rows() {
    if (state.busy) return skeleton(8);
    if (state.refusal) return refused();
    const { answer } = state;
    if (!answer) return state.reply || state.silence ? null : empty("Nothing was asked yet", h("p", null, "Choose a table and press Ask: rows that you may see are here then. The address is a link to the query."), may("agent:ask") ? h("p", { class: "buttons" }, EXAMPLES.map((each) => h("button", { key: each, onclick: () => askFor(each) }, each))) : null);
    if (!answer.rows.length) return empty("No such rows", h("p", null, "There are none in ", h("code", null, answer.table), " that you may see, or the conditions leave none."));
    return [
      h("p", { class: "quiet num", key: "facts" }, `${counted(answer.rows.length, "row")} of ${answer.table}`, answer.truncated ? ", and there are more" : "", answer.elapsed_ms === undefined ? "" : `, ${Math.round(answer.elapsed_ms)} ms`, costOf(answer)),
      rowsTable(answer.table, answer.columns, answer.rows), state.reply ? null : pages(state.route, answer.next_cursor)];
  }

  begin();
  return {
    title: () => "Ask",
    keys: [{ keys: ["Enter"], does: "ask what is chosen", run: () => { if (state.tables) submit(); } }],
    move(next) {
      state.route = next;
      if (state.tables) show();
      const field = document.querySelector("input[name=question]");
      if (field instanceof HTMLInputElement) field.value = next.query.get("question") ?? "";
      return true;
    },
    close: () => asking.abort(),
    render() {
      if (state.error) return problem(state.error, () => { state.error = null; begin(); update(); });
      const text = JSON.stringify(toDocument(state.draft, tableOf(state.draft.table)), null, 1);
      return [h("header", { class: "head" }, h("h1", null, "Ask"), questionForm()),
        !state.tables ? skeleton(8) : h("div", { class: "ask" },
          h("div", { class: "side" }, queryBuilder({ draft: state.draft, tables: state.tables, busy: state.busy }, (changes) => { Object.assign(state.draft, changes); update(); }, submit),
            h("details", { class: "document" }, h("summary", { class: "quiet" }, "As a document"), h("pre", { tabindex: "0" }, text))),
          h("div", { class: "found", "aria-live": "polite" }, state.silence ? silence() : null, state.reply ? replied() : null, rows()))];
    },
  };
}

/** @param {string} text */
function documentOf(text) {
  try {
    const document = JSON.parse(text);
    return document && typeof document === "object" && !Array.isArray(document) ? document : null;
  } catch {
    return null;
  }
}

/** What it cost, of what it may.
 * @param {any} answer */
function costOf({ guardrails = [] }) {
  const cost = guardrails.find((/** @type {any} */ each) => each.rule === "plan_cost");
  return cost ? `, cost ${cost.actual.toLocaleString("en")} of ${cost.limit.toLocaleString("en")}` : "";
}

/** Where the render is prepared further: each option by its name.
 * @param {any} render */
function composeAddress({ dataset_id: dataset, experiment_id: _experiment, ...options }) {
  const query = new URLSearchParams(Object.entries(options).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]));
  return `#/compose/${dataset}?${query}`;
}
