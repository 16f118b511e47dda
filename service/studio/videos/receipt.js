/** The receipt of a render: which source frame each frame of the video is, and what became of those that are not. */

import { send } from "../page/api.js";

/** @typedef {{output: number | null, source: number, outcome: string, reason: string | null, key?: string, captured_at?: string, substituted_from?: number | null, members?: number[], decoder?: string, pts?: number}} Line */

/** @param {string} path @param {AbortSignal} signal @returns {Promise<{lines: Line[], byOutput: Line[], faults: Line[], summary: any}>} */
export async function readReceipt(path, signal) {
  const answer = await send(path, { signal });
  const lines = /** @type {Line[]} */ ([]), byOutput = /** @type {Line[]} */ ([]), faults = /** @type {Line[]} */ ([]);
  let summary = null, rest = "";
  /** @param {string} text */
  const take = (text) => {
    if (!text) return;
    const line = JSON.parse(text);
    if (line.summary) { summary = line.summary; return; }
    lines.push(line);
    if (line.output !== null) byOutput[line.output] = line;
    if (line.outcome !== "ok") faults.push(line);
  };
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    const texts = (rest + (value ?? "")).split("\n");
    rest = done ? "" : texts.pop() ?? "";
    texts.forEach(take);
    if (done) return { lines, byOutput, faults, summary };
  }
}
