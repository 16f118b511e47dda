/** Plays a render: the finished video, or what there is of it so far, fed to a media source segment by segment. */

import { Problem, pause, send } from "../page/api.js";

const AGAIN_S = 0.5;

/** @param {number} byte */
const hex = (byte) => byte.toString(16).padStart(2, "0");

/** The codec, as media types name it, from the box that configures it.
 * @param {Uint8Array} init */
function codecOf(init) {
  const text = new TextDecoder("latin1").decode(init);
  const avc = text.indexOf("avcC"), av1 = text.indexOf("av1C"), hevc = text.indexOf("hvcC");
  if (avc >= 0) return `avc1.${hex(init[avc + 5])}${hex(init[avc + 6])}${hex(init[avc + 7])}`;
  if (av1 >= 0) {
    const depth = init[av1 + 6] & 0x40 ? "10" : "08";
    return `av01.${init[av1 + 5] >> 5}.${String(init[av1 + 5] & 31).padStart(2, "0")}M.${depth}`;
  }
  if (hevc >= 0) return `hvc1.${init[hevc + 5] & 31}.${init[hevc + 5] & 31 ? "6" : "0"}.L${init[hevc + 16]}.B0`;
  throw new Error("this browser's page knows no such codec");
}

/** @param {SourceBuffer} buffer @param {ArrayBuffer} data */
function append(buffer, data) {
  return new Promise((resolve, reject) => {
    buffer.addEventListener("updateend", resolve, { once: true });
    buffer.addEventListener("error", () => reject(new Error("the browser refuses a part of this video")), { once: true });
    buffer.appendBuffer(data);
  });
}

/** The playlist, as soon as there is something to play.
 * @param {string} path @param {AbortSignal} signal */
async function playlist(path, signal) {
  for (;;) {
    try {
      return await (await send(path, { signal })).text();
    } catch (error) {
      if (!(error instanceof Problem) || ![0, 409, 503].includes(error.status) || /cleared|cancelled|failed/.test(error.message)) throw error;
      await pause(error.retryAfter ?? 1, signal);
    }
  }
}

/**
 * Play a render while it is made. Resolves when all of it is there. With the length of all of it in `seconds`, somebody can go to
 * what is not made yet, and waits for it there.
 * @param {HTMLVideoElement} video @param {{id: string, seconds: number | null}} render @param {(segments: number) => void} onSegment @param {AbortSignal} signal
 */
export async function playStream(video, { id, seconds }, onSegment, signal) {
  const base = `/api/videos/${id}`;
  const source = new MediaSource();
  const url = URL.createObjectURL(source);
  video.src = url;
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  await new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
  if (seconds) source.duration = seconds;
  /** @type {SourceBuffer | null} */
  let buffer = null;
  for (let next = 0; !signal.aborted;) {
    const lines = (await playlist(`${base}/stream.m3u8`, signal)).split("\n");
    if (!buffer) {
      const init = await (await send(`${base}/stream/init.mp4`, { signal })).arrayBuffer();
      buffer = source.addSourceBuffer(`video/mp4; codecs="${codecOf(new Uint8Array(init))}"`);
      await append(buffer, init);
    }
    const segments = lines.filter((line) => line.endsWith(".m4s"));
    for (; next < segments.length; next++) {
      await append(buffer, await (await send(`${base}/${segments[next]}`, { signal })).arrayBuffer());
      onSegment(next + 1);
    }
    if (lines.includes("#EXT-X-ENDLIST")) return source.readyState === "open" ? source.endOfStream() : undefined;
    await pause(AGAIN_S, signal);
  }
  return undefined;
}

const MP4_TYPES = /** @type {Record<string, string>} */ ({ h264: "avc1.64001f", hevc: "hvc1.1.6.L93.B0", av1: "av01.0.08M.08" });

/** Whether this browser plays a finished file.
 * @param {Api.VideoStatus["options"]} options */
export function canPlay({ codec, container }) {
  const type = MP4_TYPES[codec];
  return Boolean(type) && ["mp4", "mov"].includes(container) && document.createElement("video").canPlayType(`video/mp4; codecs="${type}"`) !== "";
}

/** Whether this browser plays the parts of a render while it is made: they are MP4, whatever the file will be.
 * @param {Api.VideoStatus["options"]} options */
export const canStream = ({ codec }) => codec in MP4_TYPES && "MediaSource" in window && MediaSource.isTypeSupported(`video/mp4; codecs="${MP4_TYPES[codec]}"`);

/** Where the frames of a video are in time. `times`: in seconds, where they do not follow evenly. */
export class FrameTimes {
  /** @param {number} frames @param {number} rate per second @param {number[] | null} times */
  constructor(frames, rate, times = null) {
    this.frames = frames;
    this.rate = rate;
    this.times = times;
  }

  /** The frame that is shown at a time.
   * @param {number} seconds */
  at(seconds) {
    if (!this.times) return Math.min(Math.max(Math.floor(seconds * this.rate + 1e-3), 0), Math.max(this.frames - 1, 0));
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= seconds + 1e-4) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** A time within a frame.
   * @param {number} frame */
  within(frame) {
    if (!this.times) return (frame + 0.5) / this.rate;
    return this.times[frame] + 0.5 * Math.max(0.001, (this.times[frame + 1] ?? this.times[frame] + 0.02) - this.times[frame]);
  }
}
