/** A control for each option of a render, of the kind, bounds and choices that the service describes. */

import { h } from "../page/dom.js";

/** @typedef {import("./recipe.js").Field} Field */
/** `problem`: why the options are refused, if they are.
 * @typedef {{query: URLSearchParams, problem: any, change: (changes: Record<string, any>) => void}} Form */

const OPENED = new Set(["How fast", "How large"]);
const USUAL_RATE = "30";
// In their groups these are plain without what they are of.
const PREFIX = /^(crop|tone|overlay|frames|grid)\./;

/** @param {[string, Field[]][]} groups @param {Form} form */
export const optionGroups = (groups, form) => h("div", { class: "options", key: "options" }, groups.map(([title, fields]) => {
  const given = fields.filter((field) => form.query.has(field.name)).length;
  const isRefused = fields.some((field) => reasonOf(field.name, form.problem));
  const mount = (/** @type {HTMLDetailsElement} */ element) => { element.open = given > 0 || OPENED.has(title); };
  return h("details", { key: title, mount },
    h("summary", null, title,
      given ? h("span", { class: "quiet num" }, `  ${given} set`) : null,
      isRefused ? h("span", { class: "bad" }, "  refused") : null),
    fields.map((field) => option(field, form)));
}));

/** What the service says against a field, or against all that it is of.
 * @param {string} name @param {any} problem @returns {string | undefined} */
function reasonOf(name, problem) {
  const pointer = `#/${name.replaceAll(".", "/")}`;
  const isOf = (/** @type {string | undefined} */ place) => place && (`${pointer}/`.startsWith(`${place}/`) || place.startsWith(`${pointer}/`));
  return problem?.errors?.find((/** @type {any} */ each) => isOf(each.pointer))?.detail;
}

/** @param {Field} field @param {Form} form */
function option(field, form) {
  const { name, schema } = field, reason = reasonOf(name, form.problem);
  const shown = name.replace(PREFIX, "$1 ").replaceAll(/[_.]/g, " ");
  const label = field.items ? h("span", { class: "label", id: `${name}-label` }, shown) : h("label", { for: name }, shown);
  return h("div", { class: `option ${form.query.get(name) ? "given" : ""}`, key: name, "data-field": name },
    label, control(field, form, reason),
    reason ? h("p", { class: "reason", id: `${name}-reason`, role: "alert" }, reason) : null,
    schema.description ? h("p", { class: "hint", id: `${name}-hint` }, schema.description) : null);
}

/** @param {Field} field @param {Form} form @param {string} [reason] */
function control(field, form, reason) {
  const { name, schema } = field, value = form.query.get(name) ?? "";
  const described = [reason ? `${name}-reason` : "", schema.description ? `${name}-hint` : ""];
  const common = {
    id: name, "aria-describedby": described.filter(Boolean).join(" ") || null, "aria-invalid": reason ? "true" : null,
    onchange: (/** @type {any} */ event) => form.change({ [name]: schema.type === "boolean" ? event.target.checked : event.target.value }),
  };
  if (field.items) return several(field, value, form);
  if (schema.type === "boolean") return h("input", { ...common, type: "checkbox", checked: value === "true" });
  if (schema.enum) return choice(schema, value, common, name.includes("."));
  return entry(name, schema, value, common);
}

/** What is usual is left out, but not within an object: that there is one says something, too.
 * @param {any} schema @param {string} value @param {any} common @param {boolean} isWithin */
function choice({ enum: choices, default: usual = null }, value, common, isWithin) {
  const others = choices.filter((/** @type {any} */ each) => isWithin || each !== usual);
  return h("select", { ...common, value: value === String(usual) && !isWithin ? "" : value },
    h("option", { value: "", key: "" }, isWithin ? "not set" : usual === null ? "as it fits" : `${usual} (usual)`),
    others.map((/** @type {any} */ each) => h("option", { value: String(each), key: each }, each === usual ? `${each} (usual)` : String(each))));
}

/** @param {string} name @param {any} schema @param {string} value @param {any} common */
function entry(name, schema, value, common) {
  const isNumber = schema.type === "number" || schema.type === "integer";
  return h("input", {
    ...common, value, type: isNumber ? "number" : "text", step: schema.type === "integer" ? 1 : "any",
    min: schema.minimum ?? null, max: schema.maximum ?? null, maxlength: schema.maxLength ?? null,
    placeholder: name === "fps" ? USUAL_RATE : schema.default ?? "",
  });
}

/** Any number of choices.
 * @param {Field} field @param {string} value @param {Form} form */
function several({ name, items, titles }, value, form) {
  const chosen = value.split(",").filter((each) => items?.includes(each));
  // In the order in which they were chosen: panels of a grid have one.
  const toggle = (/** @type {string} */ each, /** @type {boolean} */ on) =>
    form.change({ [name]: (on ? [...chosen, each] : chosen.filter((one) => one !== each)).join(",") });
  const choices = (items ?? []).map((/** @type {string} */ each) => {
    const onchange = (/** @type {any} */ event) => toggle(each, event.target.checked);
    return h("label", { class: "check", key: each },
      h("input", { type: "checkbox", checked: chosen.includes(each), onchange }), titles ? h("bdi", null, titles[each]) : each.replaceAll("_", " "));
  });
  return h("div", { class: "several", role: "group", "aria-labelledby": `${name}-label` }, choices);
}
