// The section that shows one stream.

import { byId, keepFocus, setText } from "./dom.js";
import { FigureList, watchRows } from "./figures.js";
import { codecName } from "./format.js";
import { follow } from "./stats.js";
import { watchStream } from "./whep.js";

const stallLimit = 3; // seconds without a byte before the page says so
const patience = 5; // seconds without a byte that a stream gets after it went live again

const video = byId("player");
const message = byId("player-message");
const title = byId("watch-title");
const codecs = byId("watch-codecs");
const mute = byId("mute");
const fullscreen = byId("fullscreen");
const stopButton = byId("watch-stop");
const again = byId("watch-again");

/** The one player of the page. Its state is #player's data-state: idle, connecting, playing, waiting or failed. */
export class Player {
  #figures = new FigureList(byId("watch-figures"), watchRows);
  #link = null;
  #unfollow = () => {};
  #silent = 0; // seconds without a byte
  #left = 0; // seconds until a silent connection to a live stream is opened anew; 0 when that is not due

  /** @type {string|null} the stream asked for */
  name = null;

  /** @param {() => void} onStop called when a person stops it */
  constructor(onStop) {
    mute.addEventListener("click", () => (video.muted = !video.muted));
    video.addEventListener("volumechange", () => setText(mute, video.muted ? "Sound on" : "Sound off"));
    fullscreen.addEventListener("click", () => video.requestFullscreen());
    again.addEventListener("click", () => this.watch(this.name));
    stopButton.addEventListener("click", () => {
      this.stop();
      this.#show("idle", "Stopped. Choose a stream to watch it.");
      onStop();
    });
  }

  /** @param {string} name of a stream, which need not be live yet */
  watch(name) {
    this.stop();
    this.name = name;
    setText(title, name);
    document.title = `${name} – Sluice`;
    this.#link = watchStream(name, (media) => (video.srcObject = media), this.#onLink);
  }

  stop() {
    this.#link?.stop();
    this.#link = null;
    this.name = null;
    this.#forget();
    video.srcObject = null;
    setText(title, "Watch");
    document.title = "Sluice";
  }

  /** The stream went live: waiting for it can end, and a connection that stays silent now is of no use. */
  wake() {
    this.#link?.wake();
    this.#left = patience;
  }

  #onLink = (state, text, pc) => {
    this.#forget();
    if (state !== "connected") {
      this.#show(state, text);
      return;
    }
    this.#show("connecting", "Connected. Waiting for the first picture.");
    this.#silent = 0;
    const unfollow = follow(pc, "inbound-rtp", this.#onFigures);
    this.#unfollow = unfollow;
    // The first picture counts at once. "playing" would not do: an element fires it before any media came.
    video.requestVideoFrameCallback?.(() => this.#unfollow === unfollow && this.#show("playing", ""));
  };

  #onFigures = (figures) => {
    this.#figures.show(figures);
    setText(codecs, figures.codecs.map(codecName).join(" · "));
    if (figures.bitrate === null) return;
    if (figures.bitrate > 0) {
      this.#silent = this.#left = 0;
      if (figures.frames !== 0) this.#show("playing", "");
      return;
    }
    this.#silent++;
    if (this.#silent === stallLimit) this.#show("waiting", `Nothing arrives from “${this.name}”: its publisher is away. The picture returns by itself when the publisher does.`);
    if (this.#left > 0 && --this.#left === 0) this.watch(this.name);
  };

  #forget() {
    this.#unfollow();
    this.#unfollow = () => {};
    this.#figures.clear();
    setText(codecs, "");
  }

  /**
   * @param {"idle"|"connecting"|"playing"|"waiting"|"failed"} state
   * @param {string} text
   */
  #show(state, text) {
    video.dataset.state = state;
    setText(message, text);
    keepFocus(() => this.#offer(state), stopButton, title);
  }

  /** Shows the buttons of a state. */
  #offer(state) {
    again.hidden = state !== "failed";
    stopButton.hidden = state === "idle";
    mute.hidden = state !== "playing";
    fullscreen.hidden = state !== "playing" || !document.fullscreenEnabled;
  }
}
