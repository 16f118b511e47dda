/** What a render would be and cost, where its stages run, and the ways to ask for it. */

import { isPassing } from "../page/api.js";
import { h } from "../page/dom.js";
import { bytes, count, span } from "../page/format.js";
import { commandsOf } from "./commands.js";

/** `answer`: of the dry run; `problem`: why it is refused; `size`: of the picture, in words; `body`: the request.
 * @typedef {{answer: Api.DryRun | null, problem: any, busy: boolean, size: string, note: string, mayRender: boolean,
 *   body: any}} Offer */

/** @param {Offer} offer @param {{submit: () => void, schedule: () => void, copy: (name: string, text: string) => void}} acts @param {any} below */
export function offerPanel(offer, acts, below) {
  const { answer, problem, busy, note, mayRender } = offer;
  const inWords = problem ? h("span", { class: "bad" }, problem.message) : answer ? estimateOf(offer, answer) : (!mayRender && offer.size) || "…";
  return h("section", { class: "offer", key: "offer", "aria-label": "Estimate" },
    h("p", { class: "num estimate", role: "status" }, inWords),
    answer && !problem ? stages(answer.plan) : null,
    mayRender
      ? h("div", { class: "ways" },
        h("button", { class: "primary", disabled: busy || Boolean(problem && !isPassing(problem)), onclick: acts.submit }, "Render"),
        h("button", { title: "Render it again and again, such as every morning (s)", onclick: acts.schedule }, "Schedule…"))
      : h("p", { class: "quiet" }, "To render, the token needs videos:render."),
    h("div", { class: "buttons", role: "group", "aria-label": "Copy as" }, Object.entries(commandsOf(offer.body)).map(([name, text]) =>
      h("button", { class: "small", key: name, onclick: () => acts.copy(name, text) }, `Copy as ${name}`))),
    note ? h("p", { class: "quiet", role: "status" }, note) : null,
    below);
}

/** @param {Offer} offer @param {Api.DryRun} answer */
function estimateOf({ size, body }, { estimate }) {
  const { frames, seconds, bytes: size_, reused_frames: reused } = estimate;
  const duration = body.duration_seconds ?? (body.timing === "captured" ? null : frames / body.fps);
  const parts = [
    `${count(frames)} frames`, duration ? span(duration) : null, size || "…", `about ${bytes(size_)}`,
    `ready in ${span(Math.max(seconds, 1))}${reused ? `; ${count(reused)} frames are reused` : ""}`,
  ];
  return parts.filter(Boolean).join(", ");
}

/** @param {Record<string, any>} plan */
const stages = (plan) => h("dl", { class: "table" }, Object.entries(plan).map(([stage, place]) =>
  [h("dt", { key: stage }, stage), h("dd", { key: `${stage} is` }, `${place.device}: ${place.reason}`)]));
