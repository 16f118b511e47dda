/** Addresses: what comes after `#` says which view shows which place. */

/** @typedef {{view: string, id: string | null, query: URLSearchParams}} Route */

const ID = "([0-9a-f-]{36})";
const PATTERNS = /** @type {[string, RegExp][]} */ ([
  ["experiments", /^\/experiments$/],
  ["experiment", new RegExp(`^/experiments/${ID}$`)],
  ["dataset", new RegExp(`^/datasets/${ID}$`)],
  ["compose", new RegExp(`^/compose/${ID}$`)],
  ["renders", /^\/renders$/],
  ["schedules", /^\/schedules$/],
  ["ask", /^\/ask$/],
  ["machines", /^\/machines$/],
  ["watch", new RegExp(`^/renders/${ID}$`)],
]);

/** @param {string} hash @returns {Route} */
export function parseAddress(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?", 2);
  for (const [view, pattern] of PATTERNS) {
    const found = pattern.exec(path || "/experiments");
    if (found) return { view, id: found[1] ?? null, query: new URLSearchParams(query) };
  }
  return { view: path === "/" || path === "main" ? "experiments" : "missing", id: null, query: new URLSearchParams(query) };
}

/** The address of this view with other parameters; those without a value are left out.
 * @param {Route} route @param {Record<string, any>} changes */
export function withQuery(route, changes) {
  const query = new URLSearchParams(route.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "" || value === false) query.delete(name);
    else query.set(name, String(value));
  }
  const folder = { experiment: "experiments", dataset: "datasets", watch: "renders" }[route.view] ?? route.view;
  const text = query.toString();
  return `#/${folder}${route.id ? `/${route.id}` : ""}${text ? `?${text}` : ""}`;
}

/** Let the address say where in the view somebody is, without a step in the history. Not if he is on the way to another view:
 * the address names that already, while this one is still shown.
 * @param {Route} route @param {Record<string, any>} changes */
export function keepInAddress(route, changes) {
  const address = withQuery(route, changes), current = parseAddress(location.hash);
  if (current.view === route.view && current.id === route.id && address !== location.hash) history.replaceState(null, "", address);
}

export const to = {
  /** @param {string} id */ experiment: (id) => `#/experiments/${id}`,
  /** @param {string} id @param {number} [frame] */ dataset: (id, frame) => `#/datasets/${id}${frame ? `?frame=${frame}` : ""}`,
  /** @param {string} id @param {number} [frame] */ watch: (id, frame) => `#/renders/${id}${frame ? `?frame=${frame}` : ""}`,
};

/** @param {string} view */
export const mayRead = (view) => ({ ask: "query:run", machines: "ops:read" }[view]) ?? (["renders", "schedules", "watch"].includes(view) ? "videos:read" : "catalog:read");
