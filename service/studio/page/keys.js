/** The keyboard: which key does what in the view that is shown, and the list that `?` shows. */

import { h } from "./dom.js";

/** `keys`: as `KeyboardEvent.key` has them, with "Shift+" before.
 * @typedef {{keys: string[], does: string, run: (key: string) => void}} Key */

const COMMON = [["?", "show or hide these keys"], ["g e", "go to the experiments"], ["g r", "go to the renders"], ["g s", "go to the schedules"], ["g a", "ask"], ["g m", "go to the machines"], ["/", "search"], ["Esc", "close what is open"]];
const PLACES = /** @type {Record<string, string>} */ ({ e: "experiments", r: "renders", s: "schedules", a: "ask", m: "machines" });
const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space" };

/** @param {EventTarget | null} target */
function takesText(target) {
  return target instanceof HTMLElement && (target.matches("input:not([type=range], [type=checkbox]), textarea, select") || target.isContentEditable);
}

/**
 * @param {() => Key[]} keysOfView
 * @param {{help: () => void, escape: () => boolean, go: (view: string) => void}} shell
 */
export function installKeys(keysOfView, shell) {
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.key === "Escape") { if (shell.escape()) event.preventDefault(); return; }
    if (takesText(event.target) || document.querySelector("dialog[open]:not(.keys)")) return;
    const wasGoing = going;
    going = event.key === "g";
    if (wasGoing && event.key in PLACES) return shell.go(PLACES[event.key]);
    if (event.key === "?") return shell.help();
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search instanceof HTMLElement) { event.preventDefault(); search.focus(); }
      return;
    }
    runKey(event, keysOfView());
  });
}

/** @param {KeyboardEvent} event @param {Key[]} keys */
function runKey(event, keys) {
  const pressesButton = event.target instanceof HTMLElement && event.target.matches("button, a, summary") && (event.key === " " || event.key === "Enter");
  if (pressesButton) return;
  const name = (event.shiftKey && event.key.length > 1 ? "Shift+" : "") + event.key;
  const found = keys.find((key) => key.keys.includes(name));
  if (!found) return;
  event.preventDefault();
  found.run(name);
}

/** @param {Key[]} keys @param {() => void} onClose */
export function keyHelp(keys, onClose) {
  const rows = [...keys.map((key) => [key.keys.map(signOf).join("  "), key.does]), ...COMMON];
  return h("dialog", { class: "keys", key: "keys", "aria-label": "Keys", mount: (/** @type {HTMLDialogElement} */ dialog) => dialog.showModal(), onclose: onClose, oncancel: onClose },
    h("h2", null, "Keys"),
    h("table", null, h("tbody", null, rows.map(([key, does]) => h("tr", { key }, h("th", { scope: "row" }, key.split("  ").map((each) => h("kbd", null, each))), h("td", null, does))))),
    h("button", { onclick: onClose }, "Close"));
}

/** @param {string} key */
const signOf = (key) => key.replace(/^(Shift\+)?(.*)$/, (_all, shift, name) => `${shift ?? ""}${/** @type {any} */ (SIGNS)[name] ?? name}`);
