/** When a schedule runs, and what its runs show, in words. */

import { span } from "../page/format.js";

const WEEKDAYS = ["Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];
const WINDOWS = /** @type {Record<string, string>} */ ({ yesterday: "the day before", since_last_run: "what is new since the last run" });
/** Cron lines to choose from. */
export const USUAL = ["30 6 * * *", "30 6 * * 1-5", "30 6 * * 1", "30 6 1 * *", "0 * * * *", "*/15 * * * *"];

/** A cron line as people say it, if it is a simple one.
 * @param {string} cron @returns {string | null} */
export function cronInWords(cron) {
  const [minute, hour, day, month, weekday, ...rest] = cron.trim().split(/\s+/);
  if (rest.length || month !== "*") return null;
  const isHourly = hour === "*" && day === "*" && weekday === "*", part = Number(/^\*\/(\d+)$/.exec(minute)?.[1]);
  if (isHourly && part && 60 % part === 0) return part === 1 ? "every minute" : `every ${part} minutes`;
  if (!/^\d+$/.test(minute)) return null;
  if (isHourly) return minute === "0" ? "every hour" : `every hour at minute ${minute}`;
  const days = daysInWords(day, weekday);
  return days && /^\d+$/.test(hour) ? `${days} at ${hour.padStart(2, "0")}:${minute.padStart(2, "0")}` : null;
}

/** @param {string} day @param {string} weekday */
function daysInWords(day, weekday) {
  if (day === "1" && weekday === "*") return "on the first of each month";
  if (day !== "*") return null;
  if (weekday === "*") return "every day";
  return weekday === "1-5" ? "Monday to Friday" : WEEKDAYS[/** @type {any} */ (weekday)] ?? null;
}

/** @param {Api.Schedule} schedule */
export const windowInWords = ({ window, request }) => (window ? WINDOWS[window] ?? `the ${window}` : request.frames ? "the frames that it names" : "all frames");

/** On the clocks of a zone, or of UTC, if the browser does not know the zone.
 * @param {string} time @param {string} zone */
export function timeIn(time, zone) {
  const parts = /** @type {const} */ ({ weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
  try {
    return new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: zone }).format(Date.parse(time));
  } catch {
    return `${new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC" }).format(Date.parse(time))} UTC`;
  }
}

/** How long until then.
 * @param {string} time */
export function ahead(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  return seconds < 1 ? "now" : `in ${span(seconds)}`;
}
