/** When each frame of an MP4 is shown, from its own table: for videos that are paced as they were captured. */

import { send } from "../page/api.js";

const FOLDERS = new Set(["moov", "trak", "mdia", "minf", "stbl"]);

/** @param {string} path @param {AbortSignal} signal @returns {Promise<number[]>} seconds */
export async function readTimes(path, signal) {
  const answer = await send(path, { signal });
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  let data = new Uint8Array(0);
  for (;;) {  // the table is at the beginning of our files
    const { done, value } = await reader.read();
    if (value) data = join(data, value);
    const end = endOf(data, "moov");
    if (end !== null && data.length >= end) break;
    if (done) throw new Error("the video has no table of its frames");
  }
  await reader.cancel();
  return timesIn(data);
}

/** @param {Uint8Array} one @param {Uint8Array} other */
function join(one, other) {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

/** @param {Uint8Array} data @param {number} from @param {number} to @returns {Generator<{name: string, begin: number, end: number}>} */
function* boxes(data, from, to) {
  const view = new DataView(data.buffer, data.byteOffset);
  for (let at = from; at + 8 <= to;) {
    const size = view.getUint32(at);
    const name = String.fromCharCode(...data.subarray(at + 4, at + 8));
    yield { name, begin: at + 8, end: at + size };
    if (size < 8) return;
    at += size;
  }
}

/** @param {Uint8Array} data @param {string} name */
function endOf(data, name) {
  for (const box of boxes(data, 0, data.length)) if (box.name === name) return box.end;
  return null;
}

/** @param {Uint8Array} data */
function timesIn(data) {
  const view = new DataView(data.buffer, data.byteOffset);
  let scale = 1, at = 0;
  /** @type {number[]} */
  const times = [];
  /** @param {number} from @param {number} to */
  const walk = (from, to) => {
    for (const { name, begin, end } of boxes(data, from, Math.min(to, data.length))) {
      if (FOLDERS.has(name)) walk(begin, end);
      else if (name === "mdhd") scale = view.getUint32(begin + (data[begin] === 1 ? 20 : 12));
      else if (name === "stts") {
        for (let entry = 0; entry < view.getUint32(begin + 4); entry++) {
          const [frames, ticks] = [view.getUint32(begin + 8 + entry * 8), view.getUint32(begin + 12 + entry * 8)];
          for (let frame = 0; frame < frames; frame++, at += ticks) times.push(at / scale);
        }
      }
    }
  };
  walk(0, data.length);
  return times;
}
