/** The options of a render: as fields that the service's own description lists, as an address, as a request. */

const SENT_ELSEWHERE = {
  experiment_id: "of the dataset", dataset_id: "in the path", dry_run: "what the estimate is",
  webhook_url: "a secret address, which no link may have", preset: "its options are taken over",
};
const GROUPS = /** @type {[string, string[]][]} */ ([
  ["Which frames", ["frames", "decimation_factor", "decimation_mode"]],
  ["How fast", ["fps", "duration_seconds", "timing", "speed"]],
  ["How large", ["crop", "rotate", "width", "height", "scale"]],
  ["How it looks", ["tone", "overlay", "background", "hdr", "deinterlace"]],
  ["Side by side", ["grid"]],
  ["If a frame is bad", ["missing", "gaps", "corrupt", "changed", "mismatch"]],
  ["What comes out", ["codec", "container", "quality", "effort", "outputs", "device", "priority", "keep_days"]],
]);
const DEFAULT_RATE = 30;
// What is sent where neither the address nor the service's description has a value.
const USUAL = /** @type {Record<string, any>} */ ({ decimation_factor: 1 });

/** `name`: with dots, as in `crop.x`. `titles` say what to call the items.
 * @typedef {{name: string, schema: any, items: any[] | null, titles?: Record<string, string>}} Field */

/** @param {any} document the service's OpenAPI @param {string} model */
export const propertiesOf = (document, model) => document.components.schemas[model].properties;

/** What a property may be, without null and references.
 * @param {any} document @param {any} schema @returns {any} */
function resolve(document, schema) {
  const kind = schema.anyOf?.find((/** @type {any} */ each) => each.type !== "null") ?? schema;
  const target = kind.$ref ? document.components.schemas[kind.$ref.split("/").at(-1)] : kind;
  return { ...target, description: schema.description ?? target.description, default: schema.default };
}

/** @param {any} document @param {string} name @param {any} property @returns {Field[]} */
function fieldsOf(document, name, property) {
  const schema = resolve(document, property);
  if (schema.properties) {
    return Object.entries(schema.properties).flatMap(([part, inner]) => fieldsOf(document, `${name}.${part}`, inner));
  }
  return [{ name, schema, items: schema.items ? resolve(document, schema.items).enum ?? [] : null }];
}

/** All that a request can have, as people think of it; what no group names is in the last.
 * @param {any} document @returns {[string, Field[]][]} */
export function groupsOf(document) {
  const properties = propertiesOf(document, "VideoGenerationRequest");
  const named = new Set([...GROUPS.flatMap(([, names]) => names), ...Object.keys(SENT_ELSEWHERE)]);
  const rest = Object.keys(properties).filter((name) => !named.has(name));
  return [...GROUPS, /** @type {[string, string[]]} */ (["More", rest])].filter(([, names]) => names.length)
    .map(([title, names]) => [title, names.flatMap((name) => (properties[name] ? fieldsOf(document, name, properties[name]) : []))]);
}

/** @param {Field} field @param {string} text */
function valueOf({ schema, items }, text) {
  if (items) return text.split(",").filter(Boolean);
  if (schema.type === "boolean") return text === "true";
  const isNumber = schema.type === "number" || schema.type === "integer" || typeof schema.enum?.[0] === "number";
  return isNumber && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** The options that an address has, as the service takes them.
 * @param {Field[]} fields @param {URLSearchParams} query */
export function optionsOf(fields, query) {
  /** @type {any} */
  const options = { ...USUAL };
  for (const field of fields) {
    const text = query.get(field.name);
    if (text === null || text === "") continue;
    const path = field.name.split("."), last = /** @type {string} */ (path.pop());
    const place = path.reduce((/** @type {any} */ inner, part) => (inner[part] ??= {}), options);
    place[last] = valueOf(field, text);
  }
  const hasPace = "fps" in options || "duration_seconds" in options || options.timing === "captured";
  return hasPace ? options : { ...options, fps: DEFAULT_RATE };
}

/** The datasets that can be beside this one in a grid, as choices of its field.
 * @param {Field[]} fields @param {Api.Dataset[]} datasets @param {string} own */
export function offerPanels(fields, datasets, own) {
  const field = fields.find(({ name }) => name === "grid.dataset_ids"), others = datasets.filter((each) => each.id !== own);
  if (!field) return;
  field.items = others.map((each) => each.id);
  field.titles = Object.fromEntries(others.map((each) => [each.id, each.name]));
}

/** With this dataset as the first of its grid; without a grid if no other one that is offered is chosen.
 * @param {Field[]} fields @param {any} options @param {string} own */
export function leadBy(fields, { grid, ...options }, own) {
  const offered = fields.find(({ name }) => name === "grid.dataset_ids")?.items ?? [];
  const others = (grid?.dataset_ids ?? []).filter((/** @type {string} */ each) => offered.includes(each));
  return others.length ? { ...options, grid: { ...grid, dataset_ids: [own, ...others] } } : options;
}

/** By names with dots, without what is null.
 * @param {any} options @param {string} [before] @returns {Record<string, any>} */
export function flatten(options, before = "") {
  /** @type {[string, any][]} */
  const parts = Object.entries(options).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(parts.flatMap(([name, value]) => {
    if (Array.isArray(value)) return [[before + name, value.join(",")]];
    return typeof value === "object" ? Object.entries(flatten(value, `${before}${name}.`)) : [[before + name, value]];
  }));
}

/** The options that a render was asked for with, as they are in an address: those that are as usual are left out.
 * @param {Field[]} fields @param {any} request */
export function queryOf(fields, request) {
  const asked = flatten(request), query = new URLSearchParams();
  for (const { name, schema } of fields) {
    const value = asked[name], isUsual = !name.includes(".") && value === (schema.default ?? USUAL[name]);
    if (value === undefined || value === "" || value === false || isUsual) continue;
    query.set(name, String(value));
  }
  return query;
}
