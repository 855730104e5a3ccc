// The section that publishes.

import { testPicture } from "./canvas.js";
import * as devices from "./devices.js";
import { byId, keepFocus, setText } from "./dom.js";
import { FigureList, publishRows } from "./figures.js";
import { watchHash } from "./hash.js";
import { follow } from "./stats.js";
import { publishStream, sendableCodecs } from "./whip.js";

const form = byId("publish-form");
const fields = byId("publish-fields");
const nameField = byId("publish-name");
const codecField = byId("publish-codec");
const cameraField = byId("camera");
const microphoneField = byId("microphone");
const startButton = byId("publish-start");
const stopButton = byId("publish-stop");
const state = byId("publish-state");
const preview = byId("preview");

/** Publishes one stream at a time. Its state is #publish-state's data-state: idle, starting, live, waiting or failed. */
export class Publisher {
  #figures = new FigureList(byId("publish-figures"), publishRows);
  #link = null;
  /** @type {import("./canvas.js").Source|null} */
  #source = null;
  #unfollow = () => {};
  #starts = 0; // tells a source that opens late, after a stop, from the current one
  #secureURL = "";

  constructor() {
    for (const codec of sendableCodecs()) codecField.add(new Option(codec, codec));
    this.#choose(devices.allowed() ? "camera" : "canvas");
    form.addEventListener("change", () => this.#adapt());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    stopButton.addEventListener("click", () => {
      this.stop();
      this.#show("idle", "Stopped.");
    });
    if (devices.allowed()) {
      this.#listDevices();
      navigator.mediaDevices.addEventListener("devicechange", () => this.#listDevices());
    }
  }

  /**
   * Publishes the test picture, as a link asks for it.
   * @param {string} name
   * @param {string} codec "" for the browser's choice
   */
  publishCanvas(name, codec) {
    const known = sendableCodecs().find((sendable) => sendable.toLowerCase() === codec.toLowerCase());
    this.#choose("canvas");
    nameField.value = name;
    codecField.value = known ?? "";
    if (codec !== "" && !known) this.#show("failed", `This browser cannot send ${codec}. Choose one of ${sendableCodecs().join(", ")}.`);
    else this.#start();
  }

  /** @param {string} url the server's HTTPS page; "" where there is none */
  offerSecurePage(url) {
    if (url === this.#secureURL) return;
    this.#secureURL = url;
    byId("secure-link").href = url;
    this.#adapt();
  }

  stop() {
    this.#starts++;
    this.#link?.stop();
    this.#link = null;
    this.#unfollow();
    this.#source?.stop();
    this.#source = null;
    preview.srcObject = null;
    this.#figures.clear();
  }

  async #start() {
    this.stop();
    this.#show("starting", "Opening the source.");
    const start = this.#starts;
    const source = await this.#open().catch((error) => error);
    if (start !== this.#starts) {
      source.stop?.();
      return;
    }
    if (source instanceof Error) {
      this.#show("failed", source.message);
      return;
    }
    this.#source = source;
    const { media, note } = source;
    preview.srcObject = media;
    media.getVideoTracks()[0].addEventListener("ended", () => {
      this.stop();
      this.#show("idle", "Stopped, because the source ended. Publish again to go on.");
    });
    const name = nameField.value.trim();
    this.#link = publishStream(name, media, codecField.value, (linkState, text, pc) => this.#onLink(linkState, text, pc, name, note));
  }

  /** @returns {Promise<import("./canvas.js").Source>} */
  async #open() {
    const kind = form.elements.source.value;
    if (kind === "canvas") return testPicture(nameField.value.trim());
    if (kind === "screen") return devices.screen();
    const source = await devices.camera(cameraField.value, microphoneField.value);
    this.#listDevices(); // names are known from now on
    return source;
  }

  #onLink(linkState, text, pc, name, note) {
    this.#unfollow();
    this.#figures.clear();
    if (linkState === "connected") {
      this.#unfollow = follow(pc, "outbound-rtp", (figures) => this.#figures.show(figures));
      this.#show("live", `“${name}” is live. ${note}`.trim());
      byId("publish-link").href = watchHash(name);
      return;
    }
    if (linkState === "failed") this.stop();
    this.#show(linkState === "connecting" ? "starting" : linkState, text);
  }

  /** @param {"camera"|"screen"|"canvas"} kind */
  #choose(kind) {
    form.elements.source.value = kind;
    this.#adapt();
  }

  /** Shows what belongs to the chosen source. */
  #adapt() {
    const kind = form.elements.source.value;
    const blocked = kind !== "canvas" && !devices.allowed();
    byId("camera-fields").hidden = kind !== "camera" || blocked;
    byId("insecure").hidden = !blocked;
    byId("insecure-link").hidden = this.#secureURL === "";
    byId("insecure-no-link").hidden = this.#secureURL !== "";
    setText(byId("secure-link"), this.#secureURL);
    startButton.disabled = blocked;
  }

  #listDevices() {
    devices.listDevices(cameraField, "videoinput");
    devices.listDevices(microphoneField, "audioinput");
  }

  /**
   * @param {"idle"|"starting"|"live"|"waiting"|"failed"} name
   * @param {string} text
   */
  #show(name, text) {
    state.dataset.state = name;
    setText(state, text);
    keepFocus(() => this.#offer(name), stopButton, startButton);
  }

  /** Shows the controls of a state. */
  #offer(name) {
    const busy = name === "starting" || name === "live" || name === "waiting";
    fields.disabled = busy;
    startButton.hidden = busy;
    stopButton.hidden = !busy;
    byId("publish-on-air").hidden = !busy;
    byId("publish-link").hidden = name !== "live";
  }
}
