/** What to ask instead of a query that was refused: derived from the rule, its limit and the place. */

import { post } from "../page/api.js";
import { listOfFilters } from "./document.js";

const DAY_MS = 86_400_000;
const LISTED = /** @type {const} */ (["columns", "filters", "aggregates", "group_by", "order_by"]);

/** @typedef {{name: string, document: () => any | Promise<any>}} Narrower */

/** At most four, the most useful first.
 * @param {any} query @param {import("../page/api.js").Problem} problem @param {import("./document.js").Table | undefined} table @returns {Narrower[]} */
export function narrowerThan(query, problem, table) {
  const document = { ...query, filters: listOfFilters(query.filters) };
  const byRule = (problem.document.guardrails ?? []).flatMap((/** @type {any} */ each) => RULES[each.rule]?.(document, each, table) ?? []);
  const found = [...byRule, ...problem.errors.flatMap((each) => atPlace(document, each))];
  return found.filter((each, place) => found.findIndex(({ name }) => name === each.name) === place).slice(0, 4);
}

/** @type {Record<string, (document: any, broken: {limit: number, actual: number}, table: any) => Narrower[]>} */
const RULES = {
  rows: (document, { limit }) => [{ name: `Ask for ${limit.toLocaleString("en")} rows`, document: () => ({ ...document, limit }) }],
  plan_cost: cheaper,
  statement_ms: cheaper,
  result_bytes: (document, _broken, table) => [{ name: `Only ${(table?.key ?? []).join(" and ")}`, document: () => ({ ...document, columns: table?.key }) }],
  conditions: (document, { limit }) => [{ name: `Only the first ${limit} conditions`, document: () => ({ ...document, filters: document.filters.slice(0, limit) }) }],
  filter_depth: (document) => [{ name: "Without the nested conditions", document: () => ({ ...document, filters: document.filters.filter((/** @type {any} */ each) => "column" in each) }) }],
  listed_values: (document, { limit }) => [{ name: `Only the first ${limit.toLocaleString("en")} values`, document: () => mapFilters(document, (each) => (Array.isArray(each.value) ? { ...each, value: each.value.slice(0, limit) } : each)) }],
  names: (document, { limit }) => [{ name: `Only the first ${limit} columns`, document: () => ({ ...document, columns: document.columns?.slice(0, limit) }) }],
  value_bytes: beginnings, pattern_length: beginnings, pattern_wildcards: beginnings, pattern_escape: beginnings,
  concurrency: (document) => [{ name: "Ask again", document: () => document }],
  cursor: (document) => [{ name: "From the first row", document: () => document }],
};

/** @param {any} document @param {any} _broken @param {any} table @returns {Narrower[]} */
function cheaper(document, _broken, table) {
  const has = (/** @type {string} */ name) => table?.columns.some((/** @type {any} */ column) => column.name === name);
  const found = /** @type {Narrower[]} */ ([]);
  if (has("dataset_id")) found.push({ name: "Only of the newest dataset", document: () => ofNewest(document, "datasets", "dataset_id") });
  else if (has("experiment_id")) found.push({ name: "Only of the newest experiment", document: () => ofNewest(document, "experiments", "experiment_id") });
  if (has("created_at")) found.push({ name: "Only of the last day", document: () => withFilter(document, { column: "created_at", op: "ge", value: new Date(Date.now() - DAY_MS).toISOString() }) });
  if (document.order_by?.length && !document.aggregates?.length) found.push({ name: `Ordered by ${(table?.key ?? []).join(" and ")}`, document: () => without(document, "order_by") });
  return found;
}

/** @param {any} document @param {string} table @param {string} column */
async function ofNewest(document, table, column) {
  const { rows } = await post("/api/database/query", { table, columns: ["id"], order_by: ["-created_at"], limit: 1 });
  return rows.length ? withFilter(document, { column, op: "eq", value: rows[0].id }) : document;
}

/** @param {any} document @param {any} filter */
const withFilter = (document, filter) => ({ ...document, filters: [filter, ...document.filters.filter((/** @type {any} */ each) => each.column !== filter.column)] });

/** @param {any} document @param {string} name */
function without(document, name) {
  const { [name]: _left, ...rest } = document;
  return rest;
}

/** @param {any} document @param {(filter: any) => any} change */
const mapFilters = (document, change) => ({ ...document, filters: document.filters.map(change) });

/** Texts compared with what they begin with, up to the first wildcard.
 * @param {any} document @returns {Narrower[]} */
function beginnings(document) {
  const change = (/** @type {any} */ each) => (typeof each.value === "string" && ["like", "ilike", "eq", "contains"].includes(each.op)
    ? { ...each, op: "starts_with", value: each.value.replace(/^%+/, "").split(/[%_\\]/)[0].slice(0, 100) } : each);
  return [{ name: "Compare with the beginning", document: () => mapFilters(document, change) }];
}

/** @param {any} document @param {{detail: string, pointer?: string}} error @returns {Narrower[]} */
function atPlace(document, { detail, pointer = "" }) {
  const meant = /did you mean (\w+)\?/.exec(detail)?.[1];
  if (pointer === "#/table") return meant ? [{ name: `Ask ${meant} instead`, document: () => ({ table: meant, limit: document.limit }) }] : [];
  const [, list, place] = /^#\/(\w+)\/(\d+)/.exec(pointer) ?? [];
  if (!LISTED.some((each) => each === list) || !document[list]) return [];
  const at = Number(place), one = document[list][at], called = nameOf(one);
  const rest = document[list].filter((/** @type {any} */ _each, /** @type {number} */ index) => index !== at);
  const found = [{ name: `Without ${list === "filters" ? "the condition on " : ""}${called}`, document: () => (rest.length ? { ...document, [list]: rest } : without(document, list)) }];
  if (meant) found.unshift({ name: `${meant} instead of ${called}`, document: () => ({ ...document, [list]: document[list].map((/** @type {any} */ each, /** @type {number} */ index) => (index === at ? renamed(each, meant) : each)) }) });
  return found;
}

/** @param {any} one */
const nameOf = (one) => (typeof one === "string" ? one.replace(/^-/, "") : one?.column ?? one?.function ?? "it");

/** @param {any} one @param {string} name */
const renamed = (one, name) => (typeof one === "string" ? `${one.startsWith("-") ? "-" : ""}${name}` : { ...one, column: name });
