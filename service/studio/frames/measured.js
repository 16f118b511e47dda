/** The values of pixels as the file holds them: a worker reads them, in squares, when the pointer rests. */

import { address, sendPatiently } from "../page/api.js";

const SIDE = 64;
const REST_MS = 120;
const KEPT = 50;

export class MeasuredValues {
  /** @param {string} dataset @param {AbortSignal} signal @param {() => void} changed */
  constructor(dataset, signal, changed) {
    this.dataset = dataset;
    this.signal = signal;
    this.changed = changed;
    /** Null: asked for, or refused.
     * @type {Map<string, Api.FrameSamples | null>} */
    this.squares = new Map();
    this.resting = 0;
  }

  /** The values of a pixel; null while they are not known.
   * @param {number} frame @param {{x: number, y: number}} pixel */
  at(frame, { x, y }) {
    const path = address(`/api/datasets/${this.dataset}/frames/${frame}/samples`, { x: String(x - (x % SIDE)), y: String(y - (y % SIDE)) });
    const square = this.squares.get(path);
    if (square === undefined) this.ask(path);
    return square?.samples[y - square.y]?.[x - square.x] ?? null;
  }

  /** @param {string} path */
  ask(path) {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.read(path), REST_MS);
  }

  /** @param {string} path */
  async read(path) {
    if (this.squares.has(path) || this.signal.aborted) return;
    for (const oldest of [...this.squares.keys()].slice(0, Math.max(this.squares.size - KEPT + 1, 0))) this.squares.delete(oldest);
    this.squares.set(path, null);
    try {
      this.squares.set(path, await (await sendPatiently(path, { signal: this.signal })).json());
      this.changed();
    } catch { /* what the frame's own picture says of it is on the screen */ }
  }

  close() {
    clearTimeout(this.resting);
  }
}
