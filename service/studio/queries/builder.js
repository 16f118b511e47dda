/** A query that is built by choosing: table, columns, conditions, figures, order, number of rows. */

import { h } from "../page/dom.js";
import { newDraft, SIGNS } from "./document.js";

const FIGURES = /** @type {Record<string, string>} */ ({ count: "how many", min: "least", max: "most", avg: "average", sum: "sum" });
const HINTS = /** @type {Record<string, string>} */ ({ timestamp: "2026-03-01T10:00:00Z", uuid: "0197a3c2-…", integer: "12", number: "1.5", json: "{…}", text: "text", "text[]": "text" });

/**
 * @param {{draft: import("./document.js").Draft, tables: import("./document.js").Table[], busy: boolean}} state
 * @param {(changes: Partial<import("./document.js").Draft>) => void} change @param {() => void} submit
 */
export function queryBuilder({ draft, tables, busy }, change, submit) {
  const table = tables.find((each) => each.name === draft.table);
  return h("form", { class: "builder", "aria-label": "Query", onsubmit: (/** @type {Event} */ event) => { event.preventDefault(); submit(); } },
    h("div", { class: "row" }, h("label", { for: "ask-table" }, "Table"),
      h("select", { id: "ask-table", value: draft.table, onchange: (/** @type {any} */ event) => change(newDraft(event.target.value)) }, tables.map((each) => option(each.name, each.name, draft.table)))),
    table ? [
      h("p", { class: "quiet note" }, table.description),
      conditions(draft, table, change),
      figures(draft, table, change),
      draft.aggregates.length ? chips("Each", draft.groupBy, table.columns.filter((column) => column.sortable), (groupBy) => change({ groupBy, order: "" })) : chips("Columns", draft.columns, table.columns, (columns) => change({ columns }), "all"),
      ordering(draft, table, change),
    ] : null,
    h("div", { class: "row" }, h("label", { for: "ask-limit" }, "Rows at a time"),
      h("input", { id: "ask-limit", type: "number", min: 1, required: true, value: String(draft.limit), oninput: (/** @type {any} */ event) => change({ limit: Number(event.target.value) || 0 }) }),
      h("button", { class: "primary push", disabled: busy || !table }, busy ? "Asking…" : "Ask")));
}

/** @param {string} value @param {string} text @param {string} chosen */
const option = (value, text, chosen) => h("option", { value, key: value, selected: value === chosen }, text);

/** @param {any} draft @param {import("./document.js").Table} table @param {(changes: any) => void} change */
function conditions(draft, table, change) {
  /** @param {number} at @param {any} changes */
  const set = (at, changes) => change({ conditions: draft.conditions.map((/** @type {any} */ each, /** @type {number} */ place) => (place === at ? { ...each, ...changes } : each)) });
  const add = () => change({ conditions: [...draft.conditions, { column: table.columns[0].name, op: table.columns[0].operators[0], text: "" }] });
  return h("fieldset", { key: "conditions" }, h("legend", null, "Where"),
    draft.conditions.map((/** @type {any} */ each, /** @type {number} */ at) => condition(each, at, table, (changes) => set(at, changes), () => change({ conditions: draft.conditions.filter((/** @type {any} */ _each, /** @type {number} */ place) => place !== at) }))),
    draft.groups.map((/** @type {any} */ group, /** @type {number} */ at) => h("div", { class: "condition", key: `group ${at}` }, h("code", { class: "cut" }, JSON.stringify(group)), remove("Leave the nested conditions out", () => change({ groups: draft.groups.filter((/** @type {any} */ each) => each !== group) })))),
    h("button", { type: "button", class: "small", onclick: add }, "Add a condition"));
}

/** @param {any} each @param {number} at @param {import("./document.js").Table} table @param {(changes: any) => void} set @param {() => void} drop */
function condition(each, at, table, set, drop) {
  const column = table.columns.find(({ name }) => name === each.column);
  const operators = column?.operators ?? [each.op];
  const chooseColumn = (/** @type {any} */ event) => {
    const next = table.columns.find(({ name }) => name === event.target.value);
    set({ column: event.target.value, op: next?.operators.includes(each.op) ? each.op : next?.operators[0], text: "" });
  };
  return h("div", { class: "condition", key: at },
    h("select", { "aria-label": "Column", value: each.column, onchange: chooseColumn }, [...(column ? [] : [{ name: each.column }]), ...table.columns].map(({ name }) => option(name, name, each.column))),
    h("select", { "aria-label": "Comparison", value: each.op, onchange: (/** @type {any} */ event) => set({ op: event.target.value, text: event.target.value === "is_null" ? "true" : each.op === "is_null" ? "" : each.text }) },
      (operators.includes(each.op) ? operators : [each.op, ...operators]).map((op) => option(op, SIGNS[op] ?? op, each.op))),
    value(each, column?.type ?? "text", set),
    remove(`Leave the condition on ${each.column} out`, drop));
}

/** @param {any} each @param {string} type @param {(changes: any) => void} set */
function value(each, type, set) {
  if (each.op === "is_null" || type === "boolean") {
    const words = each.op === "is_null" ? { true: "yes", false: "no" } : { "": "…", true: "true", false: "false" };
    return h("select", { key: "choice", "aria-label": "Value", value: each.text, onchange: (/** @type {any} */ event) => set({ text: event.target.value }) }, Object.entries(words).map(([name, text]) => option(name, text, each.text)));
  }
  const hint = each.op === "between" ? "from, to" : each.op.endsWith("in") ? "one, another" : HINTS[type];
  return h("input", { key: "value", "aria-label": "Value", value: each.text, placeholder: hint, autocomplete: "off", spellcheck: "false", oninput: (/** @type {any} */ event) => set({ text: event.target.value }) });
}

/** @param {any} draft @param {import("./document.js").Table} table @param {(changes: any) => void} change */
function figures(draft, table, change) {
  const choices = [["", "rows"], ["count", "how many rows"], ...table.columns.flatMap((column) => column.aggregates.filter((each) => each !== "count").map((each) => [`${each} ${column.name}`, `${FIGURES[each]} of ${column.name}`]))];
  /** @param {any} each */
  const nameOf = (each) => (each?.column ? `${each.function} ${each.column}` : each?.function ?? "");
  /** @param {any} event */
  const choose = (event) => {
    const [name, column] = event.target.value.split(" ");
    change({ aggregates: name ? [column ? { function: name, column } : { function: name }, ...draft.aggregates.slice(1)] : [], groupBy: name ? draft.groupBy : [], order: "", moreOrder: [] });
  };
  const chosen = nameOf(draft.aggregates[0]);
  return h("div", { class: "row", key: "figures" }, h("label", { for: "ask-figure" }, "Show"),
    h("select", { id: "ask-figure", value: chosen, onchange: choose }, [...choices, ...(choices.some(([each]) => each === chosen) ? [] : [[chosen, chosen]])].map(([each, text]) => option(each, text, chosen))),
    draft.aggregates.length > 1 ? h("span", { class: "quiet" }, `and ${draft.aggregates.slice(1).map(nameOf).join(", ")}`) : null);
}

/** @param {string} title @param {string[]} chosen @param {{name: string, type: string}[]} columns @param {(chosen: string[]) => void} set @param {string} [none] */
function chips(title, chosen, columns, set, none) {
  return h("fieldset", { key: title }, h("legend", null, title, none && !chosen.length ? h("span", { class: "quiet" }, ` ${none}`) : null),
    h("div", { class: "chips" }, columns.map(({ name, type }) => h("button", {
      key: name, type: "button", class: "small", title: type, "aria-pressed": String(chosen.includes(name)),
      onclick: () => set(chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name]),
    }, name))));
}

/** @param {any} draft @param {import("./document.js").Table} table @param {(changes: any) => void} change */
function ordering(draft, table, change) {
  const named = (/** @type {any} */ each) => (each.column ? `${each.function}_${each.column}` : each.function);
  const names = draft.aggregates.length ? [...draft.groupBy, ...draft.aggregates.map(named)] : table.columns.filter((column) => column.sortable).map((column) => column.name);
  if (draft.order && !names.includes(draft.order)) names.unshift(draft.order);
  return h("div", { class: "row", key: "order" }, h("label", { for: "ask-order" }, "Order"),
    h("select", { id: "ask-order", value: draft.order, onchange: (/** @type {any} */ event) => change({ order: event.target.value, moreOrder: [] }) }, option("", draft.aggregates.length ? "as it comes" : `by ${table.key.join(", ")}`, draft.order), names.map((name) => option(name, name, draft.order))),
    draft.order ? h("label", { class: "check" }, h("input", { type: "checkbox", checked: draft.descending, onchange: (/** @type {any} */ event) => change({ descending: event.target.checked }) }), "largest first") : null);
}

/** @param {string} label @param {() => void} drop */
const remove = (label, drop) => h("button", { type: "button", class: "plain small", "aria-label": label, title: label, onclick: drop }, "×");
