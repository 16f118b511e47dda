/** What is shown where there is nothing else: empty, loading, refused, away, not found. */

import { Problem } from "../page/api.js";
import { h } from "../page/dom.js";

const SCOPES = { "catalog:read": "see experiments and frames", "videos:read": "see renders", "query:run": "ask the database", "ops:read": "see the machines" };
const FAILURES = {
  refused: "The issuer did not let you in, or you went back.",
  stale: "Signing in took too long, or was begun in another window. Try it again.",
  invalid: "The token is not one of this service, or it has ended. `reelmill up` prints a link with a new one.",
  unavailable: "The issuer does not answer. Try it again in a while.",
};
/** @type {{text: string | null}} */
export const failure = { text: null };

/** Why nobody is signed in, for the page that follows.
 * @param {string} reason */
export function signedOut(reason) {
  failure.text = /** @type {any} */ (FAILURES)[reason] ?? "Signing in failed. Try it again.";
}

/** A figure of what would be here, and what to do next.
 * @param {string} title @param {...any} rest */
export const empty = (title, ...rest) => figureOf("h2", title, rest);

/** The same as the whole of a view, whose heading it has.
 * @param {string} title @param {...any} rest */
const nothingElse = (title, ...rest) => figureOf("h1", title, rest);

/** @param {string} heading @param {string} title @param {any[]} rest */
const figureOf = (heading, title, rest) => h("section", { class: "empty" }, leader(), h(heading, null, title), h("div", null, rest));

/** The blank leader of a film. */
function leader() {
  return h("svg", { viewBox: "0 0 120 34", width: 120, height: 34, "aria-hidden": "true" },
    h("path", { d: "M0 1.5h120M0 32.5h120" }),
    [0, 1, 2, 3].map((place) => h("rect", { x: 3 + place * 30, y: 7, width: 24, height: 20 })));
}

export const away = () => h("p", { class: "banner", role: "status", key: "away" }, h("span", { class: "dot" }), "The service does not answer. It may be restarting or being upgraded: this page goes on as soon as it is back.");

/** @param {unknown} error @param {() => void} [retry] */
export function problem(error, retry) {
  const known = error instanceof Problem ? error : new Problem(-1, { title: "This page has a fault", detail: String(error) });
  if (known.status === 404) return empty("There is nothing here", h("p", null, "It was deleted, or you may not see it."), h("p", null, h("a", { href: "#/experiments" }, "To the experiments")));
  if (known.status === 403) return empty("This is not yours to see", h("p", null, known.message));
  return h("section", { class: "problem", role: "alert" }, h("h2", null, known.title), h("p", null, known.message), retry ? h("button", { onclick: retry }, "Try again") : null);
}

/** @param {number} rows @param {string} [kind] */
export const skeleton = (rows, kind = "row") => h("div", { class: "skeletons", "aria-busy": "true", "aria-label": "Loading", role: "status" }, Array.from({ length: rows }, (_each, place) => h("div", { class: `skeleton ${kind}`, key: place })));

export const notFound = () => ({
  title: () => "Not found",
  render: () => nothingElse("No such place", h("p", null, "The address is not one of the Studio's."), h("p", null, h("a", { href: "#/experiments" }, "To the experiments"))),
});

/** @param {string} scope */
export const refused = (scope) => ({
  title: () => "Not allowed",
  render: () => nothingElse("Your token does not reach here", h("p", null, `To ${/** @type {any} */ (SCOPES)[scope]}, a token needs the scope `, h("code", null, scope), "."), h("p", { class: "quiet" }, "Ask whoever gave you the token, or sign in with another.")),
});
