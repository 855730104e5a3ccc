// Live figures of a connection, out of getStats.

const period = 1000; // ms

/**
 * Figures of the last second; null where the browser or the stream has none.
 * @typedef {object} Figures
 * @property {string[]} codecs
 * @property {string|null} resolution
 * @property {number|null} fps frames per second
 * @property {number|null} bitrate bits per second, RTP payload and headers
 * @property {number|null} lost packets, in total
 * @property {number|null} resent packets, in total
 * @property {number|null} jitter seconds
 * @property {number|null} roundTrip seconds
 * @property {number|null} buffer seconds a frame waits in the jitter buffer (watching)
 * @property {number|null} freezes in total (watching)
 * @property {number|null} frames decoded or encoded, in total
 * @property {number|null} keyframes decoded or encoded, in total
 * @property {number|null} keyframesAsked in total (publishing)
 * @property {string|null} limit what holds the quality down (publishing)
 */

/**
 * Reads figures once a second.
 * @param {RTCPeerConnection} pc
 * @param {"inbound-rtp"|"outbound-rtp"} direction
 * @param {(figures: Figures) => void} onFigures
 * @returns {() => void} stops
 */
export function follow(pc, direction, onFigures) {
  let before = null;
  pc.getStats().then((report) => (before = totals(report, direction)));
  const timer = setInterval(async () => {
    const report = await pc.getStats();
    const now = totals(report, direction);
    onFigures(figures(report, now, before));
    before = now;
  }, period);
  return () => clearInterval(timer);
}

/**
 * @param {RTCStatsReport} report
 * @param {string} direction
 */
function totals(report, direction) {
  const all = [...report.values()];
  const rtp = all.filter(({ type }) => type === direction);
  const main = rtp.find(({ kind }) => kind === "video") ?? rtp[0] ?? {};
  const distant = all.filter(({ type }) => type === "remote-inbound-rtp");
  return {
    at: performance.now(),
    rtp,
    main,
    measured: direction === "inbound-rtp" ? rtp : distant, // where loss and jitter are measured: at the receiver
    bytes: sum(rtp, "bytesReceived", "headerBytesReceived", "bytesSent", "headerBytesSent"),
    pair: selectedPair(report, all),
  };
}

/**
 * @param {RTCStatsReport} report
 * @param {ReturnType<typeof totals>} now
 * @param {ReturnType<typeof totals>|null} before
 * @returns {Figures}
 */
function figures(report, now, before) {
  const { main, measured } = now;
  const measuredMain = measured.find(({ kind }) => kind === main.kind);
  const seconds = before && (now.at - before.at) / 1000;
  const past = before?.main.id === main.id ? before.main : null;
  return {
    codecs: [main, ...now.rtp.filter((other) => other !== main)].map(({ codecId }) => report.get(codecId)?.mimeType.split("/")[1]).filter(Boolean),
    resolution: main.frameWidth ? `${main.frameWidth}×${main.frameHeight}` : null,
    fps: main.framesPerSecond ?? null,
    bitrate: before && Math.max(0, ((now.bytes - before.bytes) * 8) / seconds),
    lost: measured.length > 0 ? sum(measured, "packetsLost") : null,
    jitter: measuredMain?.jitter ?? null,
    roundTrip: measuredMain?.roundTripTime ?? now.pair?.currentRoundTripTime ?? null,
    buffer: past && ratio(main.jitterBufferDelay - past.jitterBufferDelay, main.jitterBufferEmittedCount - past.jitterBufferEmittedCount),
    freezes: main.freezeCount ?? null,
    frames: main.framesDecoded ?? main.framesEncoded ?? null,
    resent: main.retransmittedPacketsReceived ?? main.retransmittedPacketsSent ?? null,
    keyframes: main.keyFramesDecoded ?? main.keyFramesEncoded ?? null,
    keyframesAsked: main.kind === "video" ? sum([main], "pliCount", "firCount") : null,
    limit: main.qualityLimitationReason ?? null,
  };
}

/**
 * @param {RTCStatsReport} report
 * @param {any[]} all
 */
function selectedPair(report, all) {
  const chosen = all.find(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId);
  if (chosen) return report.get(chosen.selectedCandidatePairId);
  return all.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
}

/**
 * @param {any[]} entries
 * @param {...string} keys
 */
const sum = (entries, ...keys) => entries.reduce((total, entry) => keys.reduce((t, key) => t + (entry[key] ?? 0), total), 0);

/** @returns {number|null} null where there is nothing to divide by */
const ratio = (part, whole) => (whole > 0 ? part / whole : null);
