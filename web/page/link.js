// Keeps one session alive: opens it, notices when it is lost, looks for another path, opens it again.

import { Refusal, unreachable } from "./problem.js";
import { openSession } from "./session.js";

const connectLimit = 12_000; // ms from the answer to a connection
const silenceLimit = 3_000; // ms that "disconnected" may last: ICE often recovers by itself
const steadyAfter = 5_000; // ms connected before the back-off starts anew
const firstPause = 500; // ms, doubled on every failure in a row
const longestPause = 8_000; // ms

/**
 * @typedef {"connecting"|"connected"|"waiting"|"failed"} LinkState "waiting" goes on by itself, "failed" does not
 *
 * @typedef {object} LinkOptions
 * @property {string} url of the WHIP or WHEP endpoint
 * @property {(pc: RTCPeerConnection) => void} prepare adds the transceivers; called for every attempt
 * @property {(refusal: Refusal, wasConnected: boolean) => string|null} wait for a refusal that only needs time:
 *   the sentence to show meanwhile; null for the others
 * @property {(state: LinkState, message: string, pc: RTCPeerConnection|null) => void} onState pc is given while connected
 */

export class Link {
  #options;
  #stopped = false;
  #wasConnected = false;
  #wake = () => {}; // ends the pause, if there is one
  #hangUp = () => {}; // ends the connection, if there is one

  /** @param {LinkOptions} options */
  constructor(options) {
    this.#options = options;
    this.#run();
  }

  /** Ends the session, at the server too. Nothing is reported after this. */
  stop() {
    this.#stopped = true;
    this.#wake();
    this.#hangUp();
  }

  /** Ends a pause between two attempts: there is reason to think that the next one succeeds. */
  wake() {
    this.#wake();
  }

  async #run() {
    this.#tell("connecting", "Connecting.");
    for (let failures = 0; !this.#stopped; failures++) {
      const end = await this.#attempt();
      if (end.final) {
        this.#tell("failed", end.message);
        return;
      }
      if (end.steady) failures = 0;
      this.#tell("waiting", end.message);
      await this.#pause(end.retryAfter ?? Math.min(firstPause * 2 ** failures, longestPause));
    }
  }

  /** @returns {Promise<{message: string, final?: boolean, steady?: boolean, retryAfter?: number|null}>} how it ended */
  async #attempt() {
    const pc = new RTCPeerConnection();
    let session = null;
    try {
      this.#options.prepare(pc);
      session = await openSession(pc, this.#options.url);
      return await this.#lost(pc, session);
    } catch (error) {
      return this.#judge(error);
    } finally {
      session?.end();
      pc.close();
    }
  }

  /** @param {Error} error */
  #judge(error) {
    if (!(error instanceof Refusal)) {
      const silent = error instanceof TypeError || error.name === "TimeoutError";
      return silent ? { message: unreachable() } : { final: true, message: `The browser could not use the server's answer: ${error.message}` };
    }
    const waiting = this.#options.wait(error, this.#wasConnected);
    if (waiting !== null) return { message: waiting, retryAfter: error.retryAfter };
    return { message: error.message, retryAfter: error.retryAfter, final: !error.passing };
  }

  /**
   * Resolves when the connection is of no more use.
   * @param {RTCPeerConnection} pc
   * @param {import("./session.js").Session} session
   */
  #lost(pc, session) {
    return new Promise((resolve) => {
      let connectedAt = 0;
      let restarted = false; // since it was connected last
      let timer = setTimeout(() => over(noPath(pc)), connectLimit);
      const over = (message) => {
        clearTimeout(timer);
        resolve({ message, steady: connectedAt > 0 && performance.now() - connectedAt > steadyAfter });
      };
      const restart = () => {
        if (restarted) return over(gone);
        restarted = true;
        timer = setTimeout(() => over(gone), connectLimit);
        session.restart().catch(() => over(gone));
      };
      const changed = () => {
        clearTimeout(timer);
        if (pc.connectionState === "connected") {
          restarted = false;
          connectedAt ||= performance.now();
          this.#wasConnected = true;
          this.#tell("connected", "Connected.", pc);
        } else if (pc.connectionState === "disconnected") {
          timer = setTimeout(restart, silenceLimit);
        } else if (pc.connectionState === "failed") {
          connectedAt ? restart() : over(noPath(pc));
        } else {
          timer = setTimeout(() => over(connectedAt ? gone : noPath(pc)), connectLimit);
        }
      };
      this.#hangUp = () => over("");
      if (this.#stopped) this.#hangUp(); // while the answer was on its way
      pc.addEventListener("connectionstatechange", changed);
      // A close_notify from the server closes DTLS and leaves connectionState as it was.
      for (const transceiver of pc.getTransceivers()) {
        const { transport } = transceiver.receiver;
        transport?.addEventListener("statechange", () => transport.state === "closed" && over(gone));
      }
    });
  }

  /** @param {number} ms */
  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#stopped) this.#wake();
    });
  }

  /**
   * @param {LinkState} state
   * @param {string} message
   * @param {RTCPeerConnection|null} [pc]
   */
  #tell(state, message, pc = null) {
    if (!this.#stopped) this.#options.onState(state, message, pc);
  }
}

const gone = "The connection was lost. The page is opening it again.";

/** @param {RTCPeerConnection} pc with an answer that led nowhere */
function noPath(pc) {
  const candidates = pc.remoteDescription.sdp.matchAll(/^a=candidate:\S+ 1 (\S+) \d+ (\S+) (\d+) /gim);
  const tried = [...candidates].map(([, transport, address, port]) => `${address} port ${port} (${transport.toUpperCase()})`);
  const where = tried.length > 0 ? ` It offered ${tried.join(", ")}.` : " It offered no address.";
  return `The server answers, but its media port cannot be reached.${where} Let that port through the firewall, or set ice/announce to an address that this device can reach. The page keeps trying.`;
}
