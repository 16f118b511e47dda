/** What is known of a render and of the frame that it shows. */

import { to } from "../page/address.js";
import { h } from "../page/dom.js";
import { baseName, bytes, count, moment } from "../page/format.js";
import { courseOf } from "./renders.js";

/** @typedef {import("../videos/receipt.js").Line} Line */

/** @param {{render: Api.VideoStatus, receipt: any, line: Line | undefined, frames: number, table: import("./receipt_table.js").ReceiptTable | null}} shown */
export function facts({ render, receipt, line, frames, table }) {
  const { options, job_id: id } = render;
  const files = /** @type {[string, string | null, string][]} */ ([["Video", render.video_url, `${id}.${options.container}`], ["Receipt", render.receipt_url, `${id}.ndjson`], ["Poster", render.poster_url, `${id}.jpg`], ["Strip", render.preview_url?.replace(/vtt$/, "jpg"), `${id}-strip.jpg`], ["Keogram", render.keogram_url, `${id}-keogram.png`]]);
  return h("aside", { class: "side", "aria-label": "Facts" },
    h("section", { class: render.status, key: "course" }, h("h2", null, "Render"), courseOf(render)),
    fate(render, receipt, line), table ? wrong(table) : null,
    h("section", { key: "files" }, h("h2", null, "Download"), render.video_url ? h("div", { class: "downloads" }, files.filter(([, url]) => url).map(([name, url, file]) => h("a", { class: "button small", key: name, href: url, download: file }, name))) : h("p", { class: "quiet" }, "When it is done.")),
    h("section", { key: "options" }, h("h2", null, "Options"), h("dl", { class: "table num" },
      h("dt", null, "codec"), h("dd", null, `${options.codec} in ${options.container}, quality ${options.quality}`), h("dt", null, "size"), h("dd", null, `${options.width}×${options.height}${render.video_bytes ? `, ${bytes(render.video_bytes)}` : ""}`),
      h("dt", null, "pace"), h("dd", null, options.timing ? `as captured, ×${options.timing.speed}` : `${options.fps} frames/s`), h("dt", null, "frames"), h("dd", null, count(frames)))));
}

/** What became of the frame that is shown.
 * @param {Api.VideoStatus} render @param {any} receipt @param {Line | undefined} line */
function fate(render, receipt, line) {
  if (!receipt) return h("section", { key: "fate" }, h("h2", null, "This frame"), h("p", { class: "quiet" }, render.status === "succeeded" ? "The receipt is being read…" : "What became of each frame is known when the render is done."));
  if (!line) return h("section", { key: "fate" }, h("h2", null, "This frame"), h("p", { class: "quiet" }, "The receipt has no line for it."));
  return h("section", { key: "fate", class: "fate" }, h("h2", null, "This frame"), h("dl", { class: "table num" },
    h("dt", null, "fate"), h("dd", { class: line.outcome === "ok" ? "" : "bad" }, line.outcome),
    line.reason ? [h("dt", null, "reason"), h("dd", null, line.reason)] : null,
    line.substituted_from !== null && line.substituted_from !== undefined ? [h("dt", null, "shown is"), h("dd", null, `frame ${count(line.substituted_from)}`)] : null,
    h("dt", null, "source"), h("dd", null, h("a", { href: to.dataset(render.dataset_id, line.source) }, `frame ${count(line.source)}`)),
    line.key ? [h("dt", null, "name"), h("dd", null, h("bdi", null, baseName(line.key)))] : null,
    line.captured_at ? [h("dt", null, "captured"), h("dd", null, moment(line.captured_at))] : null,
    line.members ? [h("dt", null, "made of"), h("dd", null, `${count(line.members.length)} frames`)] : null,
    line.decoder ? [h("dt", null, "decoder"), h("dd", null, line.decoder)] : null));
}

/** What is not as it should be, by what became of it.
 * @param {import("./receipt_table.js").ReceiptTable} table */
function wrong(table) {
  return h("section", { key: "faults" }, h("h2", null, "Not as they should be"), table.outcomes.length
    ? h("div", { class: "buttons" }, table.outcomes.map(([outcome, number]) => table.choice(outcome, number)))
    : h("p", { class: "quiet" }, "Every frame is as it was captured."));
}
