// The page: what is live, one player, one publisher, addresses for other programs.

import { CardList } from "./cards.js";
import { byId, setText } from "./dom.js";
import { clearHash, keepToken, readHash } from "./hash.js";
import { Player } from "./player.js";
import { Publisher } from "./publisher.js";
import { followStreams } from "./streams.js";
import { onToken } from "./token.js";
import { showTools } from "./tools.js";

const cards = new CardList(byId("streams"));
const publisher = new Publisher();
const player = new Player(() => {
  clearHash();
  cards.show(streams, player.name);
});

/** @type {import("./streams.js").Stream[]} */
let streams = [];
let live = new Set();
let undecided = true; // until someone or some link chose, the first live stream is shown

function obey() {
  keepToken();
  const { watch, publish, source, codec } = readHash();
  if (watch === null && publish === null) return;
  undecided = false;
  if (watch !== null && watch !== player.name) player.watch(watch);
  if (publish !== null && source === "canvas") publisher.publishCanvas(publish, codec ?? "");
  cards.show(streams, player.name);
}

/** @param {import("./streams.js").Status} status */
function onStatus(status) {
  const before = live;
  streams = status.streams;
  live = new Set(streams.filter((stream) => stream.live).map(({ name }) => name));
  const [first] = live;
  if (undecided && first !== undefined) {
    undecided = false;
    player.watch(first);
  }
  if (live.has(player.name) && !before.has(player.name)) player.wake();
  cards.show(streams, player.name);
  publisher.offerSecurePage(status.https_url);
  byId("operate").hidden = status.operator_url === "";
  byId("operate").href = status.operator_url;
  byId("unprotected").hidden = !status.unprotected;
  byId("no-streams").hidden = streams.length > 0;
  setText(byId("version"), status.version);
  setText(byId("server-state"), "");
}

onToken(() => player.name !== null && player.watch(player.name));
addEventListener("hashchange", obey);
addEventListener("pagehide", () => {
  player.stop();
  publisher.stop();
});
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

showTools();
obey();
followStreams(onStatus, (message) => setText(byId("server-state"), message));
