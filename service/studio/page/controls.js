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

/** @param {import("./address.js").Route} route @param {string | null} next */
export function pages(route, next) {
  const isFirst = !route.query.has("cursor");
  if (isFirst && !next) return null;
  return h("nav", { class: "pages", "aria-label": "Pages", key: "pages" },
    isFirst ? h("span") : h("a", { class: "button", href: withQuery(route, { cursor: null }) }, "To the first"),
    next ? h("a", { class: "button", href: withQuery(route, { cursor: next }), rel: "next" }, "Next page") : h("span", { class: "quiet" }, "This is the last page"));
}
