/** Sign in: by pasting a token, or at an issuer. The link that `reelmill up` prints does it by itself. */

import { session } from "../page/api.js";
import { h } from "../page/dom.js";
import { failure } from "./states.js";

const state = { busy: false, error: /** @type {string | null} */ (null) };

/** @param {{session: import("../page/api.js").Session, expired: boolean, onSignedIn: (session: Api.Session) => void, update: () => void}} context */
export function signIn({ session: found, expired, onSignedIn, update }) {
  const reason = state.error ?? failure.text ?? (expired ? "Your session has ended. Sign in again: you will be back where you were." : null);
  /** @param {SubmitEvent} event */
  const submit = async (event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const token = String(new FormData(form).get("token")).trim().replace(/^.*#token=/, "");
    Object.assign(state, { busy: true, error: null });
    update();
    try {
      const begun = await session.start(token);
      failure.text = null;
      form.reset();
      onSignedIn(begun);
    } catch (error) {
      state.error = /** @type {Error} */ (error).message;
    }
    state.busy = false;
    update();
  };
  return h("section", { class: "sign-in", key: "sign-in" },
    h("h1", null, "Reelmill"),
    h("p", { class: "lead" }, "Frames in, film out."),
    reason ? h("p", { class: "notice", role: "alert" }, reason) : null,
    found.sign_in_url ? h("p", null, h("a", { class: "button primary", href: found.sign_in_url }, "Sign in with your account")) : null,
    h("form", { onsubmit: submit },
      h("label", { for: "token" }, found.sign_in_url ? "Or with a token" : "Token"),
      h("input", { id: "token", name: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, maxlength: 8000, mount: (/** @type {HTMLElement} */ field) => field.focus() }),
      h("button", { class: found.sign_in_url ? "" : "primary", disabled: state.busy }, state.busy ? "Signing in…" : "Sign in")),
    h("details", null, h("summary", null, "Where is my token?"),
      h("p", null, "On one machine, ", h("code", null, "reelmill up"), " prints a link that signs you in."),
      h("p", null, "Another: ", h("code", null, "reelmill token --sub NAME --scope \"catalog:read videos:read\""))));
}
