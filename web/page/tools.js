// Addresses and commands for other programs.

import { byId, element, setText } from "./dom.js";
import { watchHash } from "./hash.js";
import { endpoint } from "./session.js";

const rows = [
  { list: "tool-addresses", label: "Send (WHIP)", text: (name) => endpoint("whip", name) },
  { list: "tool-addresses", label: "Receive (WHEP)", text: (name) => endpoint("whep", name) },
  { list: "tool-addresses", label: "This page, watching", text: (name) => new URL(watchHash(name), document.baseURI).href },
  { list: "tool-commands", label: "OBS Studio 30 or newer: Settings, Stream, Service “WHIP”, Server", text: (name) => endpoint("whip", name) },
  {
    list: "tool-commands",
    label: "FFmpeg 8 or newer",
    text: (name) =>
      "ffmpeg -re -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=frequency=440" +
      " -c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -g 60" +
      ` -c:a libopus -ar 48000 -ac 2 -f whip "${endpoint("whip", name)}"`,
  },
  {
    list: "tool-commands",
    label: "GStreamer with gst-plugins-rs",
    text: (name) => `gst-launch-1.0 videotestsrc is-live=true ! whipclientsink signaller::whip-endpoint="${endpoint("whip", name)}"`,
  },
];

/** Fills the section, and keeps it in step with the name field. */
export function showTools() {
  const nameField = byId("tool-name");
  const boxes = rows.map(({ list, label, text }, i) => {
    const box = element("input", { id: `tool-${i}`, readonly: "", spellcheck: "false" });
    const button = element("button", { type: "button", "aria-label": `Copy: ${label}` }, "Copy");
    button.addEventListener("click", () => copy(box, button, label));
    byId(list).append(element("label", { for: box.id }, label), element("div", { class: "copy" }, box, button));
    return { box, text };
  });
  const fill = () => {
    for (const { box, text } of boxes) box.value = text(nameField.value.trim());
  };
  nameField.addEventListener("input", fill);
  fill();
}

/**
 * Plain HTTP pages have no navigator.clipboard; the old command works everywhere.
 * @param {HTMLInputElement} box
 * @param {HTMLButtonElement} button
 * @param {string} label
 */
function copy(box, button, label) {
  box.select();
  const done = document.execCommand("copy");
  button.focus();
  setText(byId("copy-status"), done ? `Copied: ${label}.` : "The browser did not copy. The text is selected: press Ctrl+C.");
  if (!done) box.focus();
}
