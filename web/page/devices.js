// Camera, microphone and screen.

import { mediaProblem } from "./problem.js";

/** Whether the browser gives camera and screen to this page at all: only over HTTPS and on localhost. */
export const allowed = () => window.isSecureContext && navigator.mediaDevices !== undefined;

/**
 * @param {string} camera device id, "" for the browser's choice
 * @param {string} microphone device id, "" for the browser's choice, "none" for no sound
 * @returns {Promise<import("./canvas.js").Source>}
 */
export function camera(camera, microphone) {
  return taken(
    navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 }, ...device(camera) },
      audio: microphone !== "none" && { ...device(microphone) },
    }),
  );
}

/** @returns {Promise<import("./canvas.js").Source>} */
export async function screen() {
  const source = await taken(navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: true }));
  source.media.getVideoTracks()[0].contentHint = "detail"; // text stays sharp, motion gives way
  return source;
}

/**
 * Fills a choice with the devices of one kind; keeps what is chosen.
 * Browsers tell names only after they were once allowed to use a device.
 * @param {HTMLSelectElement} select whose own options stay first
 * @param {MediaDeviceKind} kind
 */
export async function listDevices(select, kind) {
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter((found) => found.kind === kind && found.label !== "");
  const chosen = select.value;
  for (const old of select.querySelectorAll("option[data-device]")) old.remove();
  for (const { deviceId, label } of devices) {
    const option = new Option(label, deviceId);
    option.dataset.device = "";
    select.append(option);
  }
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

/** @param {string} id */
const device = (id) => (id === "" ? {} : { deviceId: { exact: id } });

/**
 * @param {Promise<MediaStream>} asked
 * @returns {Promise<import("./canvas.js").Source>}
 */
async function taken(asked) {
  const media = await asked.catch((error) => {
    throw new Error(mediaProblem(error));
  });
  const stop = () => media.getTracks().forEach((track) => track.stop());
  return { media, stop, note: "" };
}
