/** A guarded query as one edits it, and as the service takes it. */

/** @typedef {{column: string, op: string, text: string}} Condition */
/** @typedef {{name: string, type: string, operators: string[], aggregates: string[], sortable: boolean}} Column */
/** @typedef {{name: string, description: string, key: string[], columns: Column[]}} Table */
/**
 * `conditions` can be edited; `groups` are filters that hold filters, and are kept as they are.
 * @typedef {{table: string, columns: string[], conditions: Condition[], groups: any[], aggregates: {function: string, column?: string | null}[],
 *   groupBy: string[], order: string, descending: boolean, moreOrder: any[], limit: number}} Draft
 */

const LISTS = new Set(["in", "not_in", "between"]);
export const SIGNS = /** @type {Record<string, string>} */ ({
  eq: "=", ne: "≠", lt: "<", le: "≤", gt: ">", ge: "≥", in: "is one of", not_in: "is none of", like: "like", ilike: "like, in any case",
  starts_with: "starts with", contains: "contains", between: "between", is_null: "is empty",
});
export const DEFAULT_LIMIT = 50;

/** @param {string} table @returns {Draft} */
export const newDraft = (table) => ({ table, columns: [], conditions: [], groups: [], aggregates: [], groupBy: [], order: "", descending: false, moreOrder: [], limit: DEFAULT_LIMIT });

/** @param {any} document @returns {Draft} */
export function toDraft(document) {
  const filters = listOfFilters(document.filters);
  const [first, ...moreOrder] = (document.order_by ?? []).map(orderOf);
  return {
    ...newDraft(document.table ?? ""), columns: [...(document.columns ?? [])], groupBy: [...(document.group_by ?? [])],
    conditions: filters.filter((each) => "column" in each).map(({ column, op, value }) => ({ column, op, text: textOf(value, op) })),
    groups: filters.filter((each) => !("column" in each)),
    aggregates: (document.aggregates ?? []).map((/** @type {any} */ each) => ({ ...each })),
    order: first?.column ?? "", descending: first?.direction === "desc", moreOrder, limit: document.limit ?? DEFAULT_LIMIT,
  };
}

/** A list, whichever of the three forms was sent.
 * @param {any} filters @returns {any[]} */
export function listOfFilters(filters) {
  if (!filters) return [];
  if (Array.isArray(filters)) return filters;
  if (["all", "any", "not"].some((name) => name in filters) || ("column" in filters && "op" in filters)) return [filters];
  return Object.entries(filters).map(([column, value]) => ({ column, op: "eq", value }));
}

/** @param {any} order */
const orderOf = (order) => (typeof order === "string" ? { column: order.replace(/^-/, ""), direction: order.startsWith("-") ? "desc" : "asc" } : order);

/** @param {any} value @param {string} op */
function textOf(value, op) {
  if (op === "is_null") return String(value ?? true);
  if (Array.isArray(value) && LISTS.has(op)) return value.some((each) => /,|^\s|\s$|^$/.test(String(each))) ? JSON.stringify(value) : value.join(", ");
  return typeof value === "string" ? value : JSON.stringify(value ?? "");
}

/** What is sent: only what was chosen.
 * @param {Draft} draft @param {Table | undefined} table */
export function toDocument(draft, table) {
  const types = new Map((table?.columns ?? []).map((column) => [column.name, column.type]));
  const filters = [...draft.conditions.map(({ column, op, text }) => ({ column, op, value: valueOf(text, op, types.get(column) ?? "text") })), ...draft.groups];
  const order = draft.order ? [`${draft.descending ? "-" : ""}${draft.order}`, ...draft.moreOrder] : [];
  return {
    table: draft.table,
    ...(draft.columns.length && !draft.aggregates.length ? { columns: draft.columns } : {}),
    ...(filters.length ? { filters } : {}),
    ...(draft.aggregates.length ? { aggregates: draft.aggregates } : {}),
    ...(draft.groupBy.length ? { group_by: draft.groupBy } : {}),
    ...(order.length ? { order_by: order } : {}),
    limit: draft.limit,
  };
}

/** What does not suit the type is sent as it was written: the service says what it wants.
 * @param {string} text @param {string} op @param {string} type */
function valueOf(text, op, type) {
  if (op === "is_null") return text !== "false";
  if (!LISTS.has(op)) return ["like", "ilike", "starts_with"].includes(op) ? text : scalarOf(text, type);
  const listed = text.trim().startsWith("[") ? parsed(text) : undefined;
  return Array.isArray(listed) ? listed : text.split(",").map((each) => scalarOf(each.trim(), type));
}

/** @param {string} text @param {string} type */
function scalarOf(text, type) {
  if (type === "integer" || type === "number") return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  if (type === "boolean") return text === "true" ? true : text === "false" ? false : text;
  return type === "json" ? parsed(text) ?? text : text;
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
