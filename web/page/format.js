// Numbers and names as people read them.

/** @param {number} bps bits per second */
export const bitrate = (bps) => (bps >= 1e6 ? `${(bps / 1e6).toFixed(2)} Mb/s` : `${Math.round(bps / 1e3)} kb/s`);

/** @param {number} seconds */
export const milliseconds = (seconds) => `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;

/** @param {number} n */
export const count = (n) => n.toLocaleString("en");

/**
 * @param {number} n
 * @param {string} noun in the singular
 */
export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

/** @param {string} codec as in an rtpmap or after the slash of a MIME type */
export const codecName = (codec) => (codec.toLowerCase() === "opus" ? "Opus" : codec.toUpperCase());

/** @param {Date} date the time of day, with the date when it is not today */
export function since(date) {
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString([], { month: "short", day: "numeric" })}, ${time}`;
}
