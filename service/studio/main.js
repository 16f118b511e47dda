/** The shell: who is signed in, which view an address means, and what all views have around them. */

import { connection, forget, send, session, signals } from "./page/api.js";
import { h, render } from "./page/dom.js";
import { keyHelp, installKeys } from "./page/keys.js";
import { mayRead, parseAddress } from "./page/address.js";
import { closeDialogs } from "./page/controls.js";
import { away, notFound, refused, signedOut } from "./views/states.js";
import { signIn } from "./views/sign_in.js";
import { stopUploads, uploadPanel } from "./forms/uploads.js";

/** @typedef {import("./page/api.js").Session} Session */
/**
 * What a view gets. `update` shows its state again; `go` replaces the address without a step in the history.
 * @typedef {{route: import("./page/address.js").Route, session: Session, may: (scope: string) => boolean, update: () => void,
 *   signal: AbortSignal, go: (address: string, replace?: boolean) => void}} Context
 */
/**
 * `move`: the same view is to show another place; false: it cannot, make it anew.
 * @typedef {{title: () => string, render: () => any, keys?: import("./page/keys.js").Key[], move?: (route: any) => boolean, close?: () => void}} View
 */

const VIEWS = {
  experiments: () => import("./views/experiments.js"),
  experiment: () => import("./views/experiment.js"),
  dataset: () => import("./views/dataset.js"),
  compose: () => import("./views/compose.js"),
  renders: () => import("./views/renders.js"),
  schedules: () => import("./views/schedules.js"),
  watch: () => import("./views/watch.js"),
  ask: () => import("./views/ask.js"),
  machines: () => import("./views/machines.js"),
};
const NAV = /** @type {const} */ ([["experiments", "Experiments", "catalog:read"], ["renders", "Renders", "videos:read"], ["ask", "Ask", "query:run"], ["machines", "Machines", "ops:read"]]);
const RECONNECT_MS = 2000;

const root = /** @type {HTMLElement} */ (document.getElementById("page"));
const state = {
  /** @type {Session | null} */ session: null,
  /** @type {string | null} who was the last to sign in */ user: null,
  /** @type {View | null} */ view: null,
  /** @type {string | null} */ shown: null,
  /** @type {AbortController} */ stop: new AbortController(),
  expired: false, helping: false, menu: false, outdated: false,
  /** The request for the next frame, or 0. */ drawing: 0,
};

function update() {
  state.drawing ||= requestAnimationFrame(draw);
}

function draw() {
  cancelAnimationFrame(state.drawing);
  state.drawing = 0;
  render(root, page());
  document.title = `${state.view && state.session?.user ? `${state.view.title()} · ` : ""}Reelmill`;
}

/** What is done next is done to what came of the last: keys may follow each other faster than frames. */
for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, () => { if (state.drawing) draw(); }, { capture: true });

function page() {
  const user = state.session?.user;
  return h("div", { class: "shell" },
    h("a", { class: "skip", href: "#main", onclick: (/** @type {Event} */ event) => { event.preventDefault(); document.getElementById("main")?.focus(); } }, "Skip to the content"),
    user ? topBar() : null,
    connection.away ? away() : null,
    state.outdated ? h("p", { class: "banner", role: "status" }, "The service has a new version. ", h("button", { onclick: () => location.reload() }, "Load it")) : null,
    h("main", { id: "main", tabindex: "-1", key: "main" }, body()),
    user ? uploadPanel(update) : null,
    state.helping ? keyHelp(state.view?.keys ?? [], () => { state.helping = false; update(); }) : null);
}

function body() {
  if (!state.session) return connection.away ? null : h("p", { class: "quiet pad" }, "…");
  if (!state.session.user) return signIn({ session: state.session, expired: state.expired, onSignedIn: startSession, update });
  return state.view ? h("div", { key: state.shown, class: "view" }, state.view.render()) : h("div", { class: "view" });
}

function topBar() {
  const current = parseAddress(location.hash).view;
  return h("header", { class: "top" },
    h("a", { class: "brand", href: "#/experiments", "aria-label": "Reelmill: to the experiments" }, brandMark(), h("span", null, "Reelmill")),
    h("nav", { "aria-label": "Views" }, NAV.filter(([, , scope]) => may(scope)).map(([view, name]) =>
      h("a", { href: `#/${view}`, "aria-current": isUnder(current, view) ? "page" : null }, name))),
    h("div", { class: "who" },
      h("button", { class: "plain help", title: "Keys (?)", "aria-label": "Show the keys", onclick: () => { state.helping = true; update(); } }, "?"),
      h("button", { class: "plain user", "aria-expanded": String(state.menu), "aria-controls": "account", onclick: () => { state.menu = !state.menu; update(); } }, h("bdi", { class: "cut" }, state.session?.user)),
      state.menu ? account() : null));
}

/** @param {string} current @param {string} view */
const isUnder = (current, view) => current === view || { experiment: "experiments", dataset: "experiments", compose: "experiments", watch: "renders", schedules: "renders" }[current] === view;

function account() {
  const { user, scopes, expires_at: end } = /** @type {Session} */ (state.session);
  return h("div", { class: "menu", id: "account" },
    h("p", null, "Signed in as ", h("bdi", { class: "strong" }, user)),
    h("p", { class: "quiet" }, "May: ", scopes.includes("admin") ? "everything" : scopes.join(", ") || "nothing"),
    h("p", { class: "quiet" }, "Until ", end?.startsWith("9999") ? "further notice" : new Date(end ?? 0).toLocaleString()),
    h("button", { onclick: signOut }, "Sign out"));
}

function brandMark() {
  return h("svg", { viewBox: "0 0 22 16", width: 22, height: 16, "aria-hidden": "true", class: "mark" },
    h("path", { d: "M0 1.5h22M0 14.5h22" }), h("path", { class: "fill", d: "M2 5h4v6H2zM9 5h4v6H9zM16 5h4v6h-4z" }));
}

/** @param {string} scope */
const may = (scope) => Boolean(state.session?.scopes.some((each) => each === scope || each === "admin"));

/** @param {string} address @param {boolean} [replace] */
function go(address, replace = false) {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  showAddress();
}

async function showAddress() {
  if (!state.session?.user) return update();
  const route = parseAddress(location.hash);
  const name = `${route.view}/${route.id ?? ""}`;
  if (state.view && state.shown === name && state.view.move?.(route)) return update();
  const isMoved = state.shown && state.shown !== name;
  if (isMoved) closeDialogs();
  closeView();
  state.shown = name;
  state.menu = false;
  const stop = state.stop;
  const view = await openView(route, stop.signal);
  if (stop.signal.aborted) return view?.close?.();
  state.view = view;
  window.scrollTo(0, 0);
  draw();
  if (isMoved) document.getElementById("main")?.focus({ preventScroll: true });
}

/** @param {import("./page/address.js").Route} route @param {AbortSignal} signal @returns {Promise<View | null>} */
async function openView(route, signal) {
  if (!(route.view in VIEWS)) return notFound();
  const scope = mayRead(route.view);
  if (!may(scope)) return refused(scope);
  const mine = state.shown, goFrom = (/** @type {[string, boolean?]} */ ...where) => { if (state.shown === mine) go(...where); };  // not if somebody has left
  try {
    const module = await VIEWS[/** @type {keyof typeof VIEWS} */ (route.view)]();
    return module.open({ route, session: /** @type {Session} */ (state.session), may, update, signal, go: goFrom });
  } catch (error) {
    console.warn(error);
    state.outdated = true;  // the files of this page's version are gone: the service was upgraded
    return null;
  }
}

function closeView() {
  state.stop.abort();
  state.stop = new AbortController();
  state.view?.close?.();
  state.view = null;
  state.shown = null;
}

/** @param {Session} session */
function startSession(session) {
  if (session.user !== state.user) stopUploads();
  state.session = session;
  state.user = session.user;
  state.expired = false;
  forget();
  showAddress();
}

async function signOut() {
  stopUploads();
  await session.end().catch(() => {});
  closeView();
  forget();
  state.session = { user: null, scopes: [], expires_at: null, sign_in_url: state.session?.sign_in_url ?? null };
  state.menu = false;
  update();
}

/** The token of a link is read once and leaves the address before anything is asked. */
async function begin() {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  const failure = /^#sign-in=(\w+)$/.exec(location.hash)?.[1];
  if (token || failure) history.replaceState(null, "", "/#/experiments");
  update();
  try {
    const found = token ? await session.start(decodeURIComponent(token)) : await session.read();
    if (failure && !found.user) signedOut(failure);
    startSession(found);
  } catch (error) {
    const status = /** @type {any} */ (error).status;
    if (status === 0) return;
    if (token) signedOut("invalid");
    state.expired = status === 401 && !token;
    state.session = await session.read().catch(() => ({ user: null, scopes: [], expires_at: null, sign_in_url: null }));
    if (state.session.user) startSession(state.session);
    else update();
  }
}

signals.addEventListener("expired", () => {
  if (!state.session?.user) return;
  closeDialogs();
  closeView();
  state.expired = true;
  state.session = { ...state.session, user: null, scopes: [] };
  update();
});
signals.addEventListener("away", () => {
  update();
  const ask = () => setTimeout(() => send("/health/live", { quiet: true }).catch((error) => { if (error.status === 0) ask(); }), RECONNECT_MS);
  ask();
});
signals.addEventListener("back", () => {
  checkVersion();
  if (!state.session) begin();
  else if (state.session.user) { closeView(); showAddress(); }
  update();
});

/** Whether the page that the service has now is of the files that this one has. */
async function checkVersion() {
  const own = import.meta.url.split("/").at(-2) ?? "";
  const text = await fetch("/", { headers: { Accept: "text/html" } }).then((answer) => answer.text()).catch(() => own);
  state.outdated = !text.includes(own);
  update();
}

// What is drawn on a canvas has the colours of the theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
window.addEventListener("hashchange", () => {
  if (/^#token=/.test(location.hash)) begin();
  else showAddress();
});
installKeys(() => (state.session?.user ? state.view?.keys ?? [] : []), {
  help: () => { state.helping = !state.helping; update(); },
  escape: () => { if (!state.helping && !state.menu) return false; state.helping = state.menu = false; update(); return true; },
  go: (view) => go(`#/${view}`),
});
begin();
