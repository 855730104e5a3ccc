// The section that shows one stream.

import { byId, setText } from "./dom.js";
import { FigureList, watchRows } from "./figures.js";
import { codecName } from "./format.js";
import { follow } from "./stats.js";
import { watchStream } from "./whep.js";

const stallLimit = 3; // seconds without a byte before the page says so

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

  /** @type {string|null} the stream asked for */
  name = null;

  /** @param {() => void} onStop called when a person stops it */
  constructor(onStop) {
    video.addEventListener("playing", () => this.#link && this.#show("playing", ""));
    mute.addEventListener("click", () => (video.muted = !video.muted));
    video.addEventListener("volumechange", () => setText(mute, video.muted ? "Sound on" : "Sound off"));
    fullscreen.hidden = !document.fullscreenEnabled;
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

  /** The stream went live: a player that waits for it need not wait out its pause. */
  wake() {
    this.#link?.wake();
  }

  #onLink = (state, text, pc) => {
    this.#forget();
    if (state !== "connected") {
      this.#show(state, text);
      return;
    }
    this.#silent = 0;
    this.#unfollow = follow(pc, "inbound-rtp", this.#onFigures);
  };

  #onFigures = (figures) => {
    this.#figures.show(figures);
    setText(codecs, figures.codecs.map(codecName).join(" · "));
    if (figures.bitrate === null) return;
    this.#silent = figures.bitrate > 0 ? 0 : this.#silent + 1;
    if (this.#silent === stallLimit) this.#show("waiting", `Nothing arrives from “${this.name}”: its publisher is away. The picture returns by itself when the publisher does.`);
    if (this.#silent === 0 && video.dataset.state === "waiting") this.#show("playing", "");
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
    again.hidden = state !== "failed";
    stopButton.hidden = state === "idle";
    mute.hidden = fullscreen.hidden = state !== "playing";
  }
}
