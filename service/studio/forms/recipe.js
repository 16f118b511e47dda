/** The options of a render: as fields that the service's own description lists, as an address, as a request, as a command. */

const SENT_ELSEWHERE = { experiment_id: "of the dataset", dataset_id: "in the path", dry_run: "what the estimate is", webhook_url: "a secret address, which no link may have" };
const GROUPS = /** @type {[string, string[]][]} */ ([
  ["Which frames", ["frames", "decimation_factor", "decimation_mode"]],
  ["How fast", ["fps", "duration_seconds", "timing", "speed"]],
  ["How large", ["crop", "rotate", "width", "height", "scale"]],
  ["How it looks", ["tone", "overlay", "background", "hdr", "deinterlace"]],
  ["If a frame is bad", ["missing", "gaps", "corrupt", "changed", "mismatch"]],
  ["What comes out", ["codec", "container", "quality", "effort", "outputs", "device", "priority", "keep_days"]],
]);
const DEFAULT_RATE = 30;

/** `name`: with dots, as in `crop.x`.
 * @typedef {{name: string, schema: any, items: any[] | null}} Field */

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
  if (schema.properties) return Object.entries(schema.properties).flatMap(([part, inner]) => fieldsOf(document, `${name}.${part}`, inner));
  return [{ name, schema, items: schema.items ? resolve(document, schema.items).enum : null }];
}

/** All that a request can have, as people think of it; what no group names is in the last.
 * @param {any} document @returns {[string, Field[]][]} */
export function groupsOf(document) {
  const properties = propertiesOf(document, "VideoGenerationRequest");
  const named = new Set([...GROUPS.flatMap(([, names]) => names), ...Object.keys(SENT_ELSEWHERE)]);
  const rest = Object.keys(properties).filter((name) => !named.has(name));
  return [...GROUPS, /** @type {[string, string[]]} */ (["More", rest])].filter(([, names]) => names.length)
    .map(([title, names]) => [title, names.filter((name) => properties[name]).flatMap((name) => fieldsOf(document, name, properties[name]))]);
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
  const options = { decimation_factor: 1 };
  for (const field of fields) {
    const text = query.get(field.name);
    if (text === null || text === "") continue;
    const path = field.name.split("."), last = /** @type {string} */ (path.pop());
    const place = path.reduce((/** @type {any} */ inner, part) => (inner[part] ??= {}), options);
    place[last] = valueOf(field, text);
  }
  if (!options.fps && !options.duration_seconds && options.timing !== "captured") options.fps = DEFAULT_RATE;
  return options;
}

/** @param {any} options @param {string} [before] @returns {Record<string, any>} by their names with dots */
export function flatten(options, before = "") {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null && value !== undefined).flatMap(([name, value]) =>
    (typeof value === "object" && !Array.isArray(value) ? Object.entries(flatten(value, `${before}${name}.`)) : [[before + name, Array.isArray(value) ? value.join(",") : value]])));
}

/** What a render says of its options, as a query to compose from; the frames it left out it does not say.
 * @param {any} render */
export function queryOf({ options, dataset_id: dataset }) {
  const { codec, container, effort, missing, changed, corrupt, mismatch, background, width, height, crop, outputs } = options;
  const { tone, timing, bins, rotate } = options;
  const [over, under = 1] = String(options.fps).split("/").map(Number);
  const query = new URLSearchParams(flatten({
    codec, container, effort, missing, changed, corrupt, mismatch, background, width, height, crop, outputs: outputs?.length ? outputs : null,
    quality: codec === "ffv1" ? null : options.quality, rotate: rotate || null,
    ...(timing ? { timing: "captured", speed: timing.speed } : { fps: over / under }),
    ...(bins ? { decimation_factor: bins.size, decimation_mode: bins.mode } : {}),
    tone: tone ? { mode: "fixed", low: tone.low, high: tone.high, gamma: tone.gamma, colormap: tone.colormap, inverse: tone.inverse || null } : null,
  }));
  return `#/compose/${dataset}?${query}`;
}

/** @param {string} text for a shell */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The request in the words of other tools; the token is theirs to fill in.
 * @param {any} body @returns {Record<string, string>} */
export function commandsOf(body) {
  const { experiment_id: experiment, decimation_factor: every, ...rest } = body;
  const options = Object.entries(rest).map(([name, value]) => `--option ${quoted(`${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)}`);
  const url = `${location.origin}/api/videos/generate`;
  return {
    curl: `curl -sf -H "Authorization: Bearer $REELMILL_TOKEN" -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))} \\\n  ${url}`,
    CLI: `reelmill render --experiment ${experiment} --decimation ${every} ${options.join(" ")}`,
    Python: `import json, os, urllib.request\n\nbody = json.loads(${JSON.stringify(JSON.stringify(body))})\nheaders = {"Authorization": "Bearer " + os.environ["REELMILL_TOKEN"], "Content-Type": "application/json"}\nrequest = urllib.request.Request("${url}", json.dumps(body).encode(), headers)\nprint(json.load(urllib.request.urlopen(request)))\n`,
  };
}

const STORED = "reelmill recipes";

/** Named queries that this browser keeps.
 * @returns {Record<string, string>} */
export function keptRecipes() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    return {};
  }
}

/** @param {Record<string, string>} recipes */
export const keepRecipes = (recipes) => localStorage.setItem(STORED, JSON.stringify(recipes));
