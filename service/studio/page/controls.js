/** Controls that views share: a question before something is lost, the way through the pages of a list. */

import { h, render } from "./dom.js";
import { withQuery } from "./address.js";

/** @param {string} title @param {string} text @param {string} act @param {() => void} onConfirm */
export function confirm(title, text, act, onConfirm) {
  dialog(title, (close) => [
    h("p", null, text),
    h("div", { class: "buttons" }, h("button", { onclick: close }, "Keep it"), h("button", { class: "danger", onclick: () => { close(); onConfirm(); } }, act)),
  ]);
}

/** A window over the page, until it is closed.
 * @param {string} title @param {(close: () => void, update: () => void) => any} content */
export function dialog(title, content) {
  const before = document.activeElement;
  const element = document.createElement("dialog");
  const close = () => element.close();
  const update = () => render(element, h("h2", null, title), content(close, update));
  element.setAttribute("aria-label", title);
  element.addEventListener("close", () => { element.remove(); if (before instanceof HTMLElement) before.focus(); });
  document.body.append(element);
  update();
  element.showModal();
}

/** None belongs to another view than the one it was opened in. */
export const closeDialogs = () => document.querySelectorAll("dialog").forEach((each) => each.close());

/**
 * A form in a window. It stays open while what is sent is refused, with the focus on what is wrong.
 * @param {string} title @param {string} act @param {(fields: Record<string, FormDataEntryValue>) => Promise<unknown>} send @param {() => void} onDone
 * @param {(problem: Error | null, update: () => void) => any} fields
 */
export function form(title, act, send, onDone, fields) {
  const state = { problem: /** @type {Error | null} */ (null), busy: false };
  dialog(title, (close, update) => h("form", {
    onsubmit: async (/** @type {SubmitEvent} */ event) => {
      const element = /** @type {HTMLFormElement} */ (event.currentTarget);
      event.preventDefault();
      if (state.busy) return;
      state.busy = true;
      try {
        await send(Object.fromEntries(new FormData(element)));
        close();
        onDone();
      } catch (error) {
        state.problem = /** @type {Error} */ (error);
        update();
        /** @type {HTMLElement | null} */ (element.querySelector("[aria-invalid=true]"))?.focus();
      }
      state.busy = false;
    },
  }, fields(state.problem, update),
  h("div", { class: "buttons" }, h("button", { type: "button", onclick: close }, "Cancel"), h("button", { class: "primary" }, act))));
}

/** @param {import("./address.js").Route} route @param {string | null} next */
export function pages(route, next) {
  const isFirst = !route.query.has("cursor");
  if (isFirst && !next) return null;
  return h("nav", { class: "pages", "aria-label": "Pages", key: "pages" },
    isFirst ? h("span") : h("a", { class: "button", href: withQuery(route, { cursor: null }) }, "To the first"),
    next ? h("a", { class: "button", href: withQuery(route, { cursor: next }), rel: "next" }, "Next page") : h("span", { class: "quiet" }, "This is the last page"));
}
