/** Uploads of folders: they go on while other views are shown, and after a reload if the folder is dropped again. */

import { list, Problem, post, send, sendPatiently } from "../page/api.js";
import { to } from "../page/address.js";
import { h } from "../page/dom.js";
import { bytes, count } from "../page/format.js";

const AT_ONCE = 4;
const TRIES = 30;  // while the service is away
const VIDEO = /\.(mp4|mov|mkv|avi|webm|m4v|mpg|mpeg|mts|m2ts|ts|wmv|flv)$/i;
const HIDDEN = /(^|\/)\.|(^|\/)(Thumbs\.db|desktop\.ini)$/;
const natural = new Intl.Collator("en", { numeric: true });

/** @typedef {{name: string, file: File}} Item */
/** @typedef {{experiment: string, dataset: string | null, name: string, files: number, done: number, skipped: number, bytes: number, sent: number, refused: string[], state: string, stop: AbortController, error: string | null}} Upload */

export const uploads = {
  /** @type {Upload[]} */ all: [],
  get running() { return this.all.some((each) => each.state === "sending"); },
};
/** Whoever comes next does not see what they were. */
export const stopUploads = () => uploads.all.splice(0).forEach((each) => each.stop.abort());
let notify = () => {};

/** The files of what was dropped or chosen, in natural order, and the name of their folder.
 * @param {(FileSystemEntry | File)[]} dropped @returns {Promise<{name: string, files: Item[]}>} */
export async function filesOf(dropped) {
  /** @type {Item[]} */
  const files = [];
  for (const each of dropped) {
    if (each instanceof File) files.push({ name: each.webkitRelativePath.split("/").slice(1).join("/") || each.name, file: each });
    else await collect(each, "", files, dropped.length === 1);
  }
  const first = dropped[0];
  const folder = first instanceof File ? first.webkitRelativePath.split("/")[0] : dropped.length === 1 && first?.isDirectory ? first.name : "";
  const shown = files.filter(({ name }) => !HIDDEN.test(name)).sort((one, other) => natural.compare(one.name, other.name));
  return { name: folder || `uploaded ${new Date().toISOString().slice(0, 16).replace("T", " ")}`, files: shown };
}

/** @param {any} entry @param {string} prefix @param {Item[]} files @param {boolean} isOnly */
async function collect(entry, prefix, files, isOnly) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    files.push({ name: prefix + entry.name, file });
    return;
  }
  const reader = entry.createReader(), below = isOnly ? "" : `${prefix}${entry.name}/`;
  for (;;) {
    /** @type {any[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const each of some) await collect(each, isOnly && each.isFile ? "" : below, files, false);
  }
}

/** @param {{experiment: string, name: string, files: Item[]}} folder @param {() => void} onChange the dataset is there, or scanned */
export async function startUpload({ experiment, name, files }, onChange) {
  /** @type {Upload} */
  const upload = { experiment, dataset: null, name, files: files.length, done: 0, skipped: 0, bytes: files.reduce((sum, { file }) => sum + file.size, 0), sent: 0, refused: [], state: "sending", stop: new AbortController(), error: null };
  uploads.all.unshift(upload);
  notify();
  try {
    upload.dataset = await findOrMake(experiment, name, files);
    onChange();
    const waiting = await missing(upload, files);
    await Promise.all(Array.from({ length: AT_ONCE }, () => sendFrom(waiting, upload)));
    await post(`/api/datasets/${upload.dataset}/scan`, undefined, upload.stop.signal);
    upload.state = "done";
  } catch (error) {
    upload.state = upload.stop.signal.aborted ? "stopped" : "failed";
    upload.error = /** @type {Error} */ (error).message;
    upload.stop.abort();
  }
  notify();
  onChange();
}

/** A dataset of this name is gone on with.
 * @param {string} experiment @param {string} name @param {Item[]} files */
async function findOrMake(experiment, name, files) {
  const known = await list(`/api/experiments/${experiment}/datasets`, { q: name, limit: 500 });
  const same = known.rows.find((each) => each.name === name);
  if (same) return same.id;
  const kind = files.every((each) => VIDEO.test(each.name)) ? "video" : "frames";
  return (await post(`/api/experiments/${experiment}/datasets`, { name: name.slice(0, 200), kind })).dataset.id;
}

/** Those that are not stored yet with the same size.
 * @param {Upload} upload @param {Item[]} files */
async function missing(upload, files) {
  const stored = new Map((await (await send(`/api/datasets/${upload.dataset}/objects`)).json()).map((/** @type {any} */ each) => [each.name, each.size]));
  const rest = files.filter(({ name, file }) => stored.get(name) !== file.size);
  upload.skipped = files.length - rest.length;
  upload.sent = upload.bytes - rest.reduce((sum, { file }) => sum + file.size, 0);
  notify();
  return rest[Symbol.iterator]();
}

/** @param {Iterator<Item>} waiting @param {Upload} upload */
async function sendFrom(waiting, upload) {
  for (let next = waiting.next(); !next.done; next = waiting.next()) {
    const { name, file } = next.value;
    upload.stop.signal.throwIfAborted();
    try {
      const path = name.split("/").map(encodeURIComponent).join("/");
      await sendPatiently(`/api/datasets/${upload.dataset}/objects/${path}`, { method: "PUT", data: file, signal: upload.stop.signal }, TRIES);
      upload.done += 1;
    } catch (error) {
      const isRefused = error instanceof Problem && (error.status === 413 || error.status === 422);
      if (!isRefused) throw error;
      upload.refused.push(`${name}: ${error.message}`);
    }
    upload.sent += file.size;
    notify();
  }
}

/** What is uploaded, below whatever view is shown.
 * @param {() => void} update */
export function uploadPanel(update) {
  notify = update;
  if (!uploads.all.length) return null;
  return h("aside", { class: "uploads", key: "uploads", "aria-label": "Uploads" }, uploads.all.map((upload, place) => h("div", { class: `upload ${upload.state}`, key: place },
    h("a", { class: "cut strong", href: upload.dataset ? to.dataset(upload.dataset) : to.experiment(upload.experiment) }, h("bdi", null, upload.name)),
    h("div", { class: "bar", role: "progressbar", "aria-label": "Uploaded", "aria-valuemin": 0, "aria-valuemax": upload.files, "aria-valuenow": upload.done + upload.skipped, style: { "--done": upload.bytes ? upload.sent / upload.bytes : 1 } }),
    h("span", { class: "num quiet" }, `${count(upload.done + upload.skipped)} of ${count(upload.files)} files, ${bytes(upload.sent)}`, upload.skipped ? `, ${count(upload.skipped)} were there` : ""),
    upload.refused.length ? h("span", { class: "warn", title: upload.refused.slice(0, 20).join("\n") }, `${count(upload.refused.length)} refused`) : null,
    upload.error && upload.state === "failed" ? h("span", { class: "reason" }, `${upload.error}. Drop the folder again to go on.`) : null,
    h("button", { class: "small", onclick: () => { if (upload.state === "sending") upload.stop.abort(); else uploads.all.splice(uploads.all.indexOf(upload), 1); update(); } }, upload.state === "sending" ? "Stop" : "Close"))));
}

window.addEventListener("beforeunload", (event) => { if (uploads.running) event.preventDefault(); });
