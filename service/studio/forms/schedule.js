/** A schedule as a form in a window: its name, when it runs, on which clock, and which capture times each run shows. */

import { patch, post } from "../page/api.js";
import { form } from "../page/controls.js";
import { h } from "../page/dom.js";
import { cronInWords, USUAL } from "./timetable.js";

const KINDS = [["yesterday", "of the day before"], ["last", "of the last …"], ["since_last_run", "new since the last run"], ["", "all, or those that the options name"]];
const UNITS = ["minutes", "hours", "days", "weeks"];
const CRON_HINT = "minute, hour, day of the month, month, day of the week";
const OWN = ["name", "cron", "zone", "window"];

/** @typedef {{name: string, cron: string, zone: string, kind: string, count: string, unit: string}} Fields */

/** Make one of a composed request.
 * @param {Api.VideoGenerationRequest} request @param {() => void} onDone */
export function makeSchedule(request, onDone) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const fields = fieldsOf({ name: "", cron: USUAL[0], zone, window: request.frames ? null : "yesterday" });
  open("Render again and again", "Schedule", fields, (values) => post("/api/schedules", { ...values, request }), onDone);
}

/** @param {Api.Schedule} schedule @param {() => void} onDone */
export const changeSchedule = (schedule, onDone) =>
  open("Change the schedule", "Save", fieldsOf(schedule), (values) => patch(`/api/schedules/${schedule.id}`, values), onDone);

/** @param {{name: string, cron: string, zone: string, window: string | null}} schedule @returns {Fields} */
function fieldsOf({ name, cron, zone, window }) {
  const [, count = "7", unit = "day"] = /^last (\d+) (\w+?)s?$/.exec(window ?? "") ?? [];
  return { name, cron, zone, kind: window?.startsWith("last ") ? "last" : window ?? "", count, unit: `${unit}s` };
}

/** @param {Fields} fields */
const valuesOf = ({ name, cron, zone, kind, count, unit }) => ({ name, cron, zone, window: kind === "last" ? `last ${count} ${unit}` : kind || null });

/** @param {string} title @param {string} act @param {Fields} fields @param {(values: any) => Promise<unknown>} send @param {() => void} onDone */
function open(title, act, fields, send, onDone) {
  form(title, act, () => send(valuesOf(fields)), onDone, (problem, update) => {
    /** @param {keyof Fields} name */
    const take = (name) => (/** @type {any} */ event) => { fields[name] = event.target.value; update(); };
    return [
      entry("name", "Name", problem, (each) => h("input", { ...each, value: fields.name, required: true, maxlength: 200, placeholder: "every morning", oninput: take("name") })),
      h("label", { for: "often" }, "How often"), often(fields.cron, take("cron")),
      entry("cron", "Cron line", problem, (each) => h("input", { ...each, value: fields.cron, required: true, maxlength: 200, spellcheck: "false", autocomplete: "off", oninput: take("cron") }), CRON_HINT),
      entry("zone", "Time zone", problem, (each) => [h("input", { ...each, value: fields.zone, required: true, maxlength: 100, list: "zones", spellcheck: "false", autocomplete: "off", oninput: take("zone") }), zones()]),
      entry("window", "Frames", problem, (each) => [
        h("select", { ...each, value: fields.kind, onchange: take("kind") }, KINDS.map(([value, text]) => h("option", { value, key: value }, text))),
        fields.kind === "last" ? lastOf(fields, take) : null]),
      elsewhere(problem).map((text) => h("p", { class: "notice", role: "alert", key: text }, text)),
    ];
  });
}

/** Ready choices, which fill in the cron line.
 * @param {string} cron @param {(event: any) => void} onChange */
function often(cron, onChange) {
  const isUsual = USUAL.includes(cron.trim());
  return h("select", { id: "often", value: isUsual ? cron.trim() : "", onchange: (/** @type {any} */ event) => event.target.value && onChange(event) },
    USUAL.map((each) => h("option", { value: each, key: each }, cronInWords(each))),
    h("option", { value: "", key: "" }, isUsual ? "as the cron line says" : cronInWords(cron) ?? "as the cron line says"));
}

/** @param {Fields} fields @param {(name: keyof Fields) => (event: any) => void} take */
const lastOf = ({ count, unit }, take) => h("div", { class: "span" },
  h("input", { type: "number", min: 1, value: count, required: true, "aria-label": "How many", oninput: take("count") }),
  h("select", { value: unit, "aria-label": "Of what", onchange: take("unit") }, UNITS.map((each) => h("option", { value: each, key: each }, each))));

const zones = () => h("datalist", { id: "zones" }, ["UTC", .../** @type {any} */ (Intl).supportedValuesOf?.("timeZone") ?? []].map((each) => h("option", { value: each, key: each })));

/** A control with its label, and what the service says against it.
 * @param {string} name @param {string} label @param {any} problem @param {(common: any) => any} control @param {string} [hint] */
function entry(name, label, problem, control, hint) {
  const reason = problem?.errors?.find((/** @type {any} */ each) => each.pointer === `#/${name}`)?.detail;
  const described = [reason ? `${name}-reason` : "", hint ? `${name}-hint` : ""].filter(Boolean).join(" ");
  return h("div", { class: "entry", key: name, "data-field": name },
    h("label", { for: name }, label),
    control({ id: name, "aria-invalid": reason ? "true" : null, "aria-describedby": described || null }),
    hint ? h("p", { class: "quiet", id: `${name}-hint` }, hint) : null,
    reason ? h("p", { class: "reason", id: `${name}-reason`, role: "alert" }, reason) : null);
}

/** What the service says against the options, or against all of it.
 * @param {any} problem @returns {string[]} */
function elsewhere(problem) {
  if (!problem) return [];
  if (!problem.errors?.length) return [problem.message];
  const others = problem.errors.filter((/** @type {any} */ each) => !OWN.some((name) => each.pointer === `#/${name}`));
  return others.map((/** @type {any} */ { pointer = "", detail }) => [pointer.replace(/^#\/(request\/)?/, "").replaceAll("/", " "), detail].filter(Boolean).join(": "));
}
