// The list of streams, a card each.

import { element, setText } from "./dom.js";
import { bitrate, codecName, plural, since } from "./format.js";
import { watchHash } from "./hash.js";

/** Keeps a list in step with the server's, and leaves what did not change alone (focus stays where it is). */
export class CardList {
  #cards = new Map();
  #list;

  /** @param {HTMLElement} list a ul */
  constructor(list) {
    this.#list = list;
  }

  /**
   * @param {import("./streams.js").Stream[]} streams
   * @param {string|null} watched the name of the one in the player
   */
  show(streams, watched) {
    const names = new Set(streams.map(({ name }) => name));
    for (const [name, card] of this.#cards) {
      if (names.has(name)) continue;
      card.item.remove();
      this.#cards.delete(name);
    }
    streams.forEach((stream, position) => {
      const card = this.#cards.get(stream.name) ?? this.#add(stream.name);
      if (this.#list.children[position] !== card.item) this.#list.insertBefore(card.item, this.#list.children[position] ?? null);
      card.show(stream, stream.name === watched);
    });
  }

  /** @param {string} name */
  #add(name) {
    const card = new Card(name);
    this.#cards.set(name, card);
    return card;
  }
}

class Card {
  #rate = element("span", { class: "rate" });
  #facts = element("span", { class: "facts" });
  #title = element("span", { class: "name" });
  #link;

  /** @param {string} name */
  constructor(name) {
    this.#link = element("a", { class: "card", href: watchHash(name) }, this.#title, this.#rate, this.#facts);
    this.item = element("li", {}, this.#link);
  }

  /**
   * @param {import("./streams.js").Stream} stream
   * @param {boolean} watched
   */
  show(stream, watched) {
    this.#link.dataset.live = String(stream.live);
    if (watched) this.#link.setAttribute("aria-current", "true");
    else this.#link.removeAttribute("aria-current");
    setText(this.#title, stream.title || stream.name);
    setText(this.#rate, stream.live ? bitrate(stream.bitrate_bps) : "not live");
    setText(this.#facts, facts(stream).join(" · "));
  }
}

/** @param {import("./streams.js").Stream} stream */
function facts({ live, video, audio, viewers, since: started, source }) {
  if (!live) return [`${plural(viewers, "viewer")} waiting for a publisher`];
  const codecs = [video, audio].filter(Boolean).map(({ codec }) => codecName(codec));
  return [...codecs, plural(viewers, "viewer"), `since ${since(new Date(started))}`, source].filter(Boolean);
}
