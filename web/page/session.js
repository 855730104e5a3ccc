// One WHIP (RFC 9725) or WHEP session: offer, POST, answer; later DELETE.

import { refusalOf } from "./problem.js";
import { authorization } from "./token.js";

const gatherLimit = 300; // ms; a host without a path to some resolver would wait for seconds
const answerLimit = 10_000; // ms

/**
 * @param {"whip"|"whep"} kind
 * @param {string} name of the stream
 */
export const endpoint = (kind, name) => new URL(`${kind}/${encodeURIComponent(name)}`, document.baseURI).href;

/**
 * Opens a session for a prepared connection.
 * @param {RTCPeerConnection} pc with its transceivers
 * @param {string} url of the WHIP or WHEP endpoint
 * @returns {Promise<() => void>} ends the session at the server; works while the page is being left
 * @throws {import("./problem.js").Refusal} when the server says no
 * @throws {TypeError|DOMException} when it says nothing
 */
export async function openSession(pc, url) {
  const offer = await pc.createOffer();
  await pc.setLocalDescription({ type: "offer", sdp: stereo(offer.sdp) });
  await gathered(pc);
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", ...authorization() },
    body: pc.localDescription.sdp,
    signal: AbortSignal.timeout(answerLimit),
  });
  if (response.status !== 201) throw await refusalOf(response);

  const session = new URL(response.headers.get("Location"), response.url);
  const end = () => {
    fetch(session, { method: "DELETE", keepalive: true }).catch(() => {}); // the server forgets a silent session by itself
  };
  try {
    await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  } catch (error) {
    end();
    throw error;
  }
  return end;
}

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
