/** The service: its addresses, problem documents, pages of lists, pictures and events. */

const REQUEST_HEADER = { "X-Reelmill-Request": "1" };
/** The statuses of renders that are over. */
export const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const RETRIED = new Set([429, 502, 503, 504]);
const MAX_WAIT_S = 5;

/** What the shell wants to know of: the session has ended, the service does not answer, it answers again. */
export const signals = new EventTarget();
export const connection = { away: false, upgrading: false };

/** An answer that says no, as the service puts it (RFC 9457). Status 0: there was no answer. */
export class Problem extends Error {
  /** @param {number} status @param {any} document @param {number | null} [retryAfter] */
  constructor(status, document, retryAfter = null) {
    super(document?.detail ?? document?.title ?? `the service answered ${status}`);
    this.status = status;
    this.title = document?.title ?? (status === 0 ? "No answer" : `Answer ${status}`);
    /** @type {{detail: string, pointer?: string, parameter?: string}[]} */
    this.errors = document?.errors ?? [];
    /** @type {any} */ this.document = document ?? {};
    this.retryAfter = retryAfter;
  }
}

/** @param {unknown} error */
export const isAbort = (error) => error instanceof DOMException && error.name === "AbortError";
/** Whether the same may be answered in a while.
 * @param {unknown} error */
export const isPassing = (error) => !(error instanceof Problem) || !error.status || error.status === 429 || error.status >= 500;

/**
 * `quiet`: a 401 is the caller's matter.
 * @typedef {{method?: string, body?: unknown, data?: Blob, signal?: AbortSignal, quiet?: boolean}} Options
 */
/** @param {string} path @param {Options} [options] @returns {Promise<Response>} */
export async function send(path, options = {}) {
  const { method = "GET", body, data, signal, quiet = false } = options;
  /** @type {Record<string, string>} */
  const headers = method === "GET" ? {} : { ...REQUEST_HEADER };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  else if (data !== undefined) headers["Content-Type"] = "application/octet-stream";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? data : JSON.stringify(body), signal, redirect: "error" });
  } catch (error) {
    if (isAbort(error)) throw error;
    setAway(true);
    throw new Problem(0, { detail: "the service does not answer" });
  }
  setAway(false);
  if (answer.ok && method !== "GET") known.delete(path);
  if (answer.ok) return answer;
  const problem = new Problem(answer.status, await documentOf(answer), Number(answer.headers.get("Retry-After")) || null);
  if (answer.status === 401 && !quiet) signals.dispatchEvent(new Event("expired"));
  throw problem;
}

/** @param {Response} answer */
async function documentOf(answer) {
  try {
    return await answer.json();
  } catch {
    return null;
  }
}

/** @param {boolean} away */
function setAway(away) {
  if (connection.away === away) return;
  connection.away = away;
  signals.dispatchEvent(new Event(away ? "away" : "back"));
}

/** @param {string} path @param {Options} [options] */
export const get = async (path, options) => (await send(path, options)).json();
/** @param {string} path @param {unknown} [body] @param {AbortSignal} [signal] */
export const post = async (path, body, signal) => (await send(path, { method: "POST", body, signal })).json();
/** @param {string} path @param {unknown} body */
export const patch = async (path, body) => (await send(path, { method: "PATCH", body })).json();
/** @param {string} path */
export const remove = async (path) => (await send(path, { method: "DELETE" })).json();

/** `path` with those parameters that have a value.
 * @param {string} path @param {Record<string, any>} parameters */
export function address(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return query ? `${path}?${query}` : path;
}

/**
 * One page of a list, and the cursor of the next.
 * @param {string} path @param {Record<string, any>} [parameters] @param {AbortSignal} [signal]
 * @returns {Promise<{rows: any[], next: string | null, total: number | null}>}
 */
export async function list(path, parameters = {}, signal) {
  const answer = await send(address(path, parameters), { signal });
  const next = /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get("Link") ?? "");
  const total = answer.headers.get("X-Total-Count");
  return {
    rows: await answer.json(),
    next: next ? new URL(next[1], location.href).searchParams.get("cursor") : null,
    total: total === null ? null : Number(total),
  };
}

/** @param {number} seconds @param {AbortSignal} [signal] */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

/** A request that is repeated while the service has no room or is not ready.
 * @param {string} path @param {Options} options */
export async function sendPatiently(path, options, tries = 6) {
  for (let left = tries; ; left--) {
    try {
      return await send(path, options);
    } catch (error) {
      if (!(error instanceof Problem) || !(RETRIED.has(error.status) || error.status === 0) || left <= 1) throw error;
      await pause(Math.min(error.retryAfter ?? 1, MAX_WAIT_S), options?.signal);
    }
  }
}

/** A picture, also one that a worker makes only now.
 * @param {string} path @param {AbortSignal} [signal] */
export const picture = async (path, signal) => (await sendPatiently(path, { signal })).blob();

/**
 * Follow renders by one stream until all have ended.
 * @param {string} path @param {(status: Api.VideoStatus) => void} onStatus @param {() => void} [onLost] @returns {() => void} ends it
 */
export function follow(path, onStatus, onLost) {
  const stream = new EventSource(path);
  stream.addEventListener("status", (event) => { setAway(false); onStatus(JSON.parse(event.data)); });
  stream.addEventListener("error", () => {
    stream.close();  // ended as well as lost: who shows it asks again, and then knows which
    onLost?.();
  });
  return () => stream.close();
}

/** @typedef {Api.Session} Session */

export const session = {
  /** @returns {Promise<Session>} */
  read: () => get("/api/session", { quiet: true }),
  /** @param {string} token @returns {Promise<Session>} */
  start: async (token) => (await send("/api/session", { method: "POST", body: { token }, quiet: true })).json(),
  end: () => send("/api/session", { method: "DELETE", quiet: true }),
};

// The names of experiments and datasets, which renders refer to by id.
/** @type {Map<string, Promise<any>>} */
const known = new Map();

/** What is at an address, asked for once while the page is open.
 * @param {string} path @returns {Promise<any>} */
export function once(path) {
  let found = known.get(path);
  if (!found) {
    found = get(path).catch((error) => { known.delete(path); throw error; });
    known.set(path, found);
  }
  return found;
}

export const forget = () => known.clear();
