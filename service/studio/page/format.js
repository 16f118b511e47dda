/** Numbers, sizes, times and ids as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const SPANS = /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]);

/** @param {number | null | undefined} number */
export const count = (number) => (number === null || number === undefined ? "–" : whole.format(number));

/** @param {number} number @param {string} one @param {string} [many] */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** @param {number | null | undefined} number */
export const figure = (number) => (number === null || number === undefined ? "–" : number >= 1000 ? whole.format(number) : short.format(number));

/** @param {number | null | undefined} size */
export function bytes(size) {
  if (size === null || size === undefined) return "–";
  const power = size < 1000 ? 0 : Math.min(Math.floor(Math.log10(size) / 3), UNITS.length - 1);
  return `${short.format(size / 1000 ** power)} ${UNITS[power]}`;
}

/** The two largest units.
 * @param {number | null | undefined} seconds */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return seconds > 0 ? `${short.format(seconds)} s` : "0 s";
  let rest = Math.round(seconds);
  const parts = [];
  for (const [size, unit] of SPANS) {
    if (rest >= size && parts.length < 2) parts.push(`${Math.floor(rest / size)} ${unit}`);
    else if (parts.length) break;
    rest %= size;
  }
  return parts.join(" ");
}

/** Minutes, seconds and frame, as on a tape.
 * @param {number} seconds */
export function clock(seconds) {
  const hundredths = Math.floor(Math.max(seconds, 0) * 100 + 0.5);
  const pad = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const minutes = Math.floor(hundredths / 6000);
  const hours = minutes >= 60 ? `${Math.floor(minutes / 60)}:` : "";
  return `${hours}${pad(minutes % 60)}:${pad(Math.floor(hundredths / 100) % 60)}.${pad(hundredths % 100)}`;
}

/** @param {string | null | undefined} time */
export function moment(time) {
  if (!time) return "–";
  const [day, rest] = time.split("T");
  return `${day} ${rest.replace(/(\.\d{3})\d*/, "$1").replace(/(Z|\+00:00)$/, "")}`.replace(/(:\d\d)\.000$/, "$1");
}

/** How long ago.
 * @param {string | null | undefined} time */
export function ago(time) {
  if (!time) return "–";
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  if (seconds < 10) return "just now";
  return `${span(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

/** The last part of a key, which may have folders.
 * @param {string} key */
export const baseName = (key) => key.slice(key.lastIndexOf("/") + 1) || key;

/** Rates are fractions: "30", "30000/1001".
 * @param {string | number | null | undefined} rate */
export function rateOf(rate) {
  const [over, under] = String(rate ?? 0).split("/").map(Number);
  return under ? over / under : over;
}
