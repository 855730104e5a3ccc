// Publishing: WHIP.

import { Link } from "./link.js";
import { endpoint } from "./session.js";

const notCodecs = /\/(rtx|red|ulpfec|flexfec-03)$/i; // repair formats, listed among the codecs

/** @returns {string[]} the video codecs that this browser can send, in its own order */
export function sendableCodecs() {
  const codecs = RTCRtpSender.getCapabilities("video").codecs.filter(({ mimeType }) => !notCodecs.test(mimeType));
  return [...new Set(codecs.map(({ mimeType }) => mimeType.split("/")[1]))];
}

/**
 * Publishes media until the link is stopped.
 * @param {string} name
 * @param {MediaStream} media
 * @param {string} codec one of sendableCodecs(), or "" for the browser's choice
 * @param {import("./link.js").LinkOptions["onState"]} onState
 */
export function publishStream(name, media, codec, onState) {
  return new Link({
    url: endpoint("whip", name),
    prepare(pc) {
      for (const track of media.getTracks()) {
        const transceiver = pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
        if (track.kind === "video" && codec !== "") transceiver.setCodecPreferences(only(codec));
      }
    },
    // After a loss the server may hold this page's own last session for a while, and calls that a conflict.
    wait: (refusal, wasConnected) => (refusal.status === 409 && wasConnected ? "The connection was lost. The server still holds the last one; the page keeps trying." : null),
    onState,
  });
}

/** @param {string} codec */
function only(codec) {
  const keep = [`video/${codec}`, "video/rtx"].map((mimeType) => mimeType.toLowerCase());
  return RTCRtpSender.getCapabilities("video").codecs.filter(({ mimeType }) => keep.includes(mimeType.toLowerCase()));
}
