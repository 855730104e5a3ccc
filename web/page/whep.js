// Watching: WHEP.

import { Link } from "./link.js";
import { endpoint } from "./session.js";

/**
 * Watches a stream until the link is stopped; waits for it when it is not live.
 * @param {string} name
 * @param {(media: MediaStream) => void} onMedia called when a connection brings its first track
 * @param {import("./link.js").LinkOptions["onState"]} onState
 */
export function watchStream(name, onMedia, onState) {
  return new Link({
    url: endpoint("whep", name),
    prepare(pc) {
      pc.addTransceiver("audio", { direction: "recvonly" });
      pc.addTransceiver("video", { direction: "recvonly" });
      const media = new MediaStream();
      pc.addEventListener("track", ({ track }) => {
        media.addTrack(track);
        onMedia(media);
      });
    },
    wait: (refusal) => (refusal.status === 409 ? `“${name}” is not live yet. It starts here by itself as soon as someone publishes it.` : null),
    onState,
  });
}
