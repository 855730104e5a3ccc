// What went wrong, as a sentence that says what to do.

import { askForToken } from "./token.js";

/** The server's refusal of a request. Its message is for people. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {number|null} retryAfter milliseconds
   */
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later: overload and a server's own faults pass, the rest does not. */
  get passing() {
    return this.status >= 500 || [408, 425, 429].includes(this.status);
  }
}

/**
 * Reads a refusal: the problem document (RFC 9457) where there is one.
 * @param {Response} response
 */
export async function refusalOf(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  const retryAfter = seconds > 0 ? Math.min(seconds, 30) * 1000 : null;
  return new Refusal(response.status, await explanation(response), retryAfter);
}

/** @param {Response} response */
async function explanation(response) {
  if (response.status === 406) return sentence((await response.text()).match(/^i=(.+?)\r?$/m)?.[1] ?? "The browser cannot play this stream"); // a counter-offer says why
  const problem = await response.json().catch(() => null);
  if ([401, 403].includes(response.status)) return askForToken(problem?.detail ?? "The server refused the token.");
  const told = [problem?.title, problem?.detail].filter((part) => typeof part === "string" && part !== "").map(sentence);
  if (told.length > 0) return told.join(" ");
  return `The server answered ${response.status} and did not say why. Its log tells more.`;
}

/** @param {string} text */
function sentence(text) {
  const closed = /[.!?]$/.test(text) ? text : `${text}.`;
  return closed[0].toUpperCase() + closed.slice(1);
}

export const unreachable = () => `The server at ${location.host} does not answer. Check that it runs and that this device is on its network; the page keeps trying.`;

const mediaErrors = {
  NotAllowedError: "The browser did not allow it. Allow camera and microphone (or the screen) for this page, then publish again.",
  NotFoundError: "No such device was found. Connect a camera and microphone, set Microphone to “None”, or publish the test picture.",
  NotReadableError: "Another program holds the camera or microphone. Close that program, then publish again.",
  OverconstrainedError: "The chosen device is gone. Choose another one, then publish again.",
};

/**
 * @param {Error} error what getUserMedia or getDisplayMedia threw
 */
export const mediaProblem = (error) => mediaErrors[error.name] ?? `The browser gave no picture (${error.message}). Choose another source, then publish again.`;
