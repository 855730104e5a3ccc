// The part of the address after "#": what a link asks the page to do.

import { rememberToken } from "./token.js";

/**
 * Reads "#watch=NAME" and "#publish=NAME&source=canvas&codec=VP8".
 * @returns {{watch: string|null, publish: string|null, source: string|null, codec: string|null}}
 */
export function readHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  return { watch: asked.get("watch"), publish: asked.get("publish"), source: asked.get("source"), codec: asked.get("codec") };
}

/** Takes a token ("#token=TOKEN") out of the address, where others would see it, and remembers it. */
export function keepToken() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const token = asked.get("token");
  if (token === null) return;
  rememberToken(token);
  asked.delete("token");
  const rest = asked.toString();
  history.replaceState(null, "", location.pathname + location.search + (rest && `#${rest}`));
}

/** @param {string} name of a stream */
export const watchHash = (name) => `#watch=${encodeURIComponent(name)}`;

/** Takes the request out of the address, so that a reload does not repeat it. */
export const clearHash = () => history.replaceState(null, "", location.pathname + location.search);
