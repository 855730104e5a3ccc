// Figures on the page: a definition list, with a line for the bitrate of the last minute.

import { element, setText } from "./dom.js";
import { bitrate, count, milliseconds } from "./format.js";

const rows = [
  { key: "bitrate", label: "Bitrate", show: bitrate },
  { key: "resolution", label: "Resolution", show: String },
  { key: "fps", label: "Frames/s", show: (n) => n.toFixed(0) },
  { key: "jitter", label: "Jitter", show: milliseconds },
  { key: "roundTrip", label: "Round trip", show: milliseconds },
  // Duplicates count against losses (RFC 3550 section 6.4.1), so the total may fall below zero.
  { key: "lost", label: "Lost packets", show: (n) => count(Math.max(0, n)) },
  { key: "resent", label: "Resent", show: count },
];
export const watchRows = [
  ...rows,
  { key: "buffer", label: "Jitter buffer", show: milliseconds },
  { key: "freezes", label: "Freezes", show: count },
  { key: "frames", label: "Decoded", show: count },
  { key: "keyframes", label: "Keyframes", show: count },
];
export const publishRows = [
  ...rows,
  { key: "limit", label: "Limited by", show: (why) => (why === "none" ? "nothing" : why) },
  { key: "frames", label: "Encoded", show: count },
  { key: "keyframes", label: "Keyframes", show: count },
  { key: "keyframesAsked", label: "PLI and FIR", show: count },
];

/** A list of figures. Each value is a dd with data-figure=KEY and, as it was measured, data-value. */
export class FigureList {
  #line = new Line();
  #cells = new Map();

  /**
   * @param {HTMLElement} list a dl
   * @param {{key: string, label: string, show: (value: any) => string}[]} rows
   */
  constructor(list, rows) {
    for (const { key, label, show } of rows) {
      const text = element("span");
      const value = element("dd", { "data-figure": key }, text);
      if (key === "bitrate") value.append(this.#line.element);
      list.append(element("div", {}, element("dt", {}, label), value));
      this.#cells.set(key, { value, text, show });
    }
    this.clear();
  }

  /** @param {import("./stats.js").Figures} figures */
  show(figures) {
    for (const [key, { value, text, show }] of this.#cells) {
      const measured = figures[key] ?? null;
      setText(text, measured === null ? "–" : show(measured));
      value.dataset.value = measured ?? "";
    }
    this.#line.add(figures.bitrate ?? 0);
  }

  clear() {
    this.#line.clear();
    for (const { value, text } of this.#cells.values()) {
      setText(text, "–");
      value.dataset.value = "";
    }
  }
}

/** The last minute as a line. The number beside it says the same in words. */
class Line {
  #values = [];
  #stroke = vector("polyline", { class: "stroke" });
  #area = vector("polygon", { class: "area" });

  constructor() {
    this.element = vector("svg", { viewBox: "0 0 59 20", preserveAspectRatio: "none", class: "line", "aria-hidden": "true" });
    this.element.append(this.#area, this.#stroke);
  }

  /** @param {number} value */
  add(value) {
    this.#values = [...this.#values, value].slice(-60);
    const top = Math.max(...this.#values, 1) * 1.1;
    const first = 60 - this.#values.length;
    const points = this.#values.map((v, i) => `${first + i},${(20 - (v / top) * 20).toFixed(2)}`).join(" ");
    this.#stroke.setAttribute("points", points);
    this.#area.setAttribute("points", `${first},20 ${points} 59,20`);
  }

  clear() {
    this.#values = [];
    for (const shape of [this.#stroke, this.#area]) shape.removeAttribute("points");
  }
}

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 */
function vector(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
