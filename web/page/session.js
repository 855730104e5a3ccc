// One WHIP (RFC 9725) or WHEP session: offer, POST, answer; PATCH where the path to the server was lost; later DELETE.

import { refusalOf } from "./problem.js";
import { authorization } from "./token.js";

const gatherLimit = 300; // ms; a host without a path to some resolver would wait for seconds
const answerLimit = 10_000; // ms

/**
 * @param {"whip"|"whep"} kind
 * @param {string} name of the stream
 */
export const endpoint = (kind, name) => new URL(`${kind}/${encodeURIComponent(name)}`, document.baseURI).href;

/** A session at the server, and its connection here. */
export class Session {
  #pc;
  #url;

  /**
   * @param {RTCPeerConnection} pc
   * @param {URL} url of the session
   */
  constructor(pc, url) {
    this.#pc = pc;
    this.#url = url;
  }

  /** Ends the session at the server; works while the page is being left. */
  end() {
    fetch(this.#url, { method: "DELETE", keepalive: true }).catch(() => {}); // the server forgets a silent session by itself
  }

  /**
   * Restarts ICE (RFC 9725 section 4.3.3): the session goes on by another path, as after a change of networks. The server answers checks
   * from wherever they come, so candidates would tell it nothing.
   * @throws {import("./problem.js").Refusal|TypeError|DOMException} as openSession does
   */
  async restart() {
    this.#pc.restartIce();
    await describe(this.#pc);
    const fragment = iceLines(this.#pc.localDescription.sdp);
    const response = await send(this.#url, "PATCH", "application/trickle-ice-sdpfrag", fragment.join(""), { "If-Match": "*" });
    if (response.status !== 200) throw await refusalOf(response);
    const [ufrag, pwd] = iceLines(await response.text());
    const sdp = this.#pc.remoteDescription.sdp.replace(/^a=ice-ufrag:.*\r\n/gm, ufrag).replace(/^a=ice-pwd:.*\r\n/gm, pwd);
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
  }
}

/**
 * Opens a session for a prepared connection.
 * @param {RTCPeerConnection} pc with its transceivers
 * @param {string} url of the WHIP or WHEP endpoint
 * @returns {Promise<Session>}
 * @throws {import("./problem.js").Refusal} when the server says no
 * @throws {TypeError|DOMException} when it says nothing
 */
export async function openSession(pc, url) {
  await describe(pc);
  await gathered(pc);
  const response = await send(url, "POST", "application/sdp", pc.localDescription.sdp);
  const location = response.headers.get("Location");
  const session = location && new Session(pc, new URL(location, response.url));
  if (response.status !== 201) {
    session?.end(); // a counter-offer (406) has a session too, and this page answers none
    throw await refusalOf(response);
  }
  try {
    await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  } catch (error) {
    session.end();
    throw error;
  }
  return session;
}

/** @param {RTCPeerConnection} pc that makes its offer */
async function describe(pc) {
  const offer = await pc.createOffer();
  await pc.setLocalDescription({ type: "offer", sdp: stereo(offer.sdp) });
}

/**
 * @param {string|URL} url
 * @param {string} method
 * @param {string} type of the body
 * @param {string} body
 * @param {Record<string, string>} [headers]
 */
function send(url, method, type, body, headers = {}) {
  return fetch(url, {
    method,
    headers: { "Content-Type": type, ...headers, ...authorization() },
    body,
    signal: AbortSignal.timeout(answerLimit),
  });
}

/**
 * @param {string} sdp
 * @returns {string[]} the line with the ICE user fragment, and that with the password
 */
const iceLines = (sdp) => ["ice-ufrag", "ice-pwd"].map((name) => `${sdp.match(new RegExp(`^a=${name}:.*$`, "m"))[0]}\r\n`);

/**
 * Asks for stereo: browsers fold Opus to mono unless their own description says this (RFC 7587 section 6.1).
 * @param {string} sdp
 */
function stereo(sdp) {
  const opus = sdp.match(/^a=rtpmap:(\d+) opus\//im)?.[1];
  return opus ? sdp.replace(new RegExp(`^(a=fmtp:${opus} .*)$`, "m"), "$1;stereo=1") : sdp;
}

/** @param {RTCPeerConnection} pc */
function gathered(pc) {
  return new Promise((resolve) => {
    const check = () => pc.iceGatheringState === "complete" && resolve();
    pc.addEventListener("icegatheringstatechange", check);
    setTimeout(resolve, gatherLimit);
    check();
  });
}
