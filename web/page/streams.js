// What is live, asked once a second.

import { unreachable } from "./problem.js";

const period = 1000; // ms
const answerLimit = 5000; // ms

/**
 * @typedef {object} Stream
 * @property {string} name
 * @property {string} title empty for none but the name
 * @property {boolean} live false while only viewers are there
 * @property {string} since RFC 3339
 * @property {number} viewers
 * @property {number} bitrate_bps
 * @property {{codec: string}|null} audio
 * @property {{codec: string}|null} video
 * @property {string} source
 *
 * @typedef {object} Status
 * @property {Stream[]} streams
 * @property {string} version
 * @property {string} https_url empty where the server has no HTTPS
 * @property {string} operator_url where this visitor reaches the operator's page, empty for nowhere
 * @property {boolean} unprotected whether everyone may publish and watch, from other machines too
 */

/**
 * Follows the server's list for as long as the page is open.
 * @param {(status: Status) => void} onStatus
 * @param {(message: string) => void} onSilence
 */
export async function followStreams(onStatus, onSilence) {
  for (;;) {
    const status = await ask().catch(() => null);
    if (status) onStatus(status);
    else onSilence(unreachable());
    await new Promise((resolve) => setTimeout(resolve, period));
  }
}

/** @returns {Promise<Status>} */
async function ask() {
  const response = await fetch(new URL("api/streams", document.baseURI), { cache: "no-store", signal: AbortSignal.timeout(answerLimit) });
  if (!response.ok) throw new Error(response.statusText);
  return response.json();
}
