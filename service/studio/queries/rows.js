/** The rows of an answer as a table. What is in a cell is only ever text; ids lead to what they are of. */

import { h } from "../page/dom.js";
import { count, moment } from "../page/format.js";
import { to } from "../page/address.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const RIGHT = new Set(["integer", "number"]);
const PLACES = /** @type {Record<string, (id: string) => string>} */ ({ experiments: to.experiment, datasets: to.dataset, renders: to.watch, experiment_id: to.experiment, dataset_id: to.dataset, render_id: to.watch });

/** @param {string} table @param {{name: string, type: string}[]} columns @param {any[]} rows */
export function rowsTable(table, columns, rows) {
  return h("div", { class: "rows", tabindex: "0", role: "region", "aria-label": "Rows" }, h("table", { class: "answer num" },
    h("thead", null, h("tr", null, columns.map(({ name, type }) => h("th", { key: name, scope: "col", title: type, class: RIGHT.has(type) ? "right" : null }, name)))),
    h("tbody", null, rows.map((row, place) => h("tr", { key: place }, columns.map(({ name, type }) => cell(table, name, type, row[name])))))));
}

/** @param {string} table @param {string} name @param {string} type @param {any} value */
function cell(table, name, type, value) {
  if (value === null || value === undefined) return h("td", { key: name, class: "quiet" }, "–");
  if (RIGHT.has(type)) return h("td", { key: name, class: "right" }, name.endsWith("index") || name === "number" ? String(value) : Number.isInteger(value) ? count(value) : String(value));
  const place = PLACES[name === "id" ? table : name];
  if (type === "uuid" && UUID.test(value)) return h("td", { key: name, title: value }, place ? h("a", { href: place(value) }, value.slice(-12)) : value.slice(-12));
  if (type === "timestamp") return h("td", { key: name, title: String(value), class: "when" }, moment(String(value)));
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return h("td", { key: name }, h("bdi", { class: "cell", title: text.length > 60 ? text.slice(0, 2000) : null }, text));
}
