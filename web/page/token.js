// The bearer token with which sessions are opened. This tab remembers it, nothing else does.

import { byId, controlsAfter, keepFocus } from "./dom.js";

const section = byId("access");
const form = byId("token-form");
const field = byId("token");
const key = "token"; // in the tab's storage

/** @returns {Record<string, string>} header fields for requests that open sessions */
export function authorization() {
  const token = sessionStorage.getItem(key);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** @param {string} token */
export const rememberToken = (token) => sessionStorage.setItem(key, token);

/**
 * Shows the field for a token.
 * @param {string} detail what the server says of the token that it got
 * @returns {string} the sentence that asks for one
 */
export function askForToken(detail) {
  section.hidden = false;
  return sessionStorage.getItem(key) ? `${detail} Enter another one under “Token”.` : "This server asks for a token. Enter it under “Token”.";
}

/** @param {() => void} use called when a person entered a token */
export function onToken(use) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    rememberToken(field.value.trim());
    field.value = "";
    keepFocus(() => (section.hidden = true), ...controlsAfter(section));
    use();
  });
}
