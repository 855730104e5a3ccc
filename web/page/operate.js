// The operator's view: latency against budgets, shards, drops, the tree. It only reads.

import { byId, element, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { bar, between, draw, duration, quantile, total } from "./histogram.js";
import { showSessions } from "./sessions.js";
import { showTree } from "./tree.js";

const every = 2000; // ms between pictures
const span = 5; // pictures that a window lasts

/** @type {{at: number, picture: any}[]} the last pictures, oldest first */
const seen = [];

async function ask(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function wrongWith(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  return response.ok ? [] : (await response.text()).trim().split("\n");
}

async function look() {
  try {
    const [picture, sick, unready] = await Promise.all([ask("/picture"), wrongWith("/healthz"), wrongWith("/readyz")]);
    seen.push({ at: performance.now(), picture });
    if (seen.length > span + 1) seen.shift();
    showHealth(sick, unready);
    show(picture, seen[0].picture, (seen.at(-1).at - seen[0].at) / 1000);
    await showSessions(ask);
    setText(byId("server-state"), "");
  } catch (error) {
    setText(byId("server-state"), `No answer from the server (${error.message}). Trying again.`);
    byId("health").dataset.state = "bad";
    setText(byId("health"), "no answer");
  }
  setTimeout(look, every);
}

function showHealth(sick, unready) {
  const wrong = [...sick, ...unready];
  byId("health").dataset.state = sick.length ? "bad" : unready.length ? "waiting" : "good";
  setText(byId("health"), sick.length ? "sick" : unready.length ? "not ready" : "healthy and ready");
  byId("wrong").hidden = wrong.length === 0;
  setText(byId("wrong"), wrong.join("\n"));
}

function show(now, before, seconds) {
  showStreams(now, before);
  showShards(now, before, seconds);
  showDrops(now, before, seconds);
}

function showStreams(now, before) {
  const old = new Map(before.streams.map((s) => [s.name, s]));
  byId("latency").replaceChildren(...now.streams.map((s) => streamCard(s, between(s.latency, old.get(s.name)?.latency), now.edges_us)));
  byId("no-latency").hidden = now.streams.length > 0;
}

function streamCard(stream, counts, edges) {
  const p50 = quantile(counts, edges, 0.5);
  const p99 = quantile(counts, edges, 0.99);
  const verdict = verdictOn(stream);
  const sampled = total(stream.transmit); // few, so all since the start
  const device = sampled ? `; to the network device p50 ${quantile(stream.transmit, edges, 0.5)}, p99 ${quantile(stream.transmit, edges, 0.99)} of ${count(sampled)} sampled` : "";
  const facts = `${plural(stream.viewers, "viewer")}, ${plural(total(counts), "packet")}, p50 ${p50}, p99 ${p99}${device}`;
  return element(
    "li",
    {},
    element("div", { class: "name" }, stream.name),
    element("div", { class: "facts" }, facts),
    element("div", { class: "verdict", "data-state": verdict.state }, verdict.text),
    draw(counts, edges, stream.budget_us, `Latency of ${stream.name}: p50 ${p50}, p99 ${p99}. ${verdict.text}`),
  );
}

function verdictOn(stream) {
  if (stream.budget_us === 0) return { state: "none", text: "No budget is set." };
  const budget = `${stream.budget_quantile_permille / 10} % within ${duration(stream.budget_us)}`;
  if (stream.sent_packets === 0) return { state: "none", text: `Budget: ${budget}. Nothing was sent in the last window.` };
  const late = `${count(stream.late_packets)} of ${count(stream.sent_packets)} late in the last window`;
  if (stream.budget_exceeded) return { state: "bad", text: `Over budget (${budget}): ${late}.` };
  return { state: "good", text: `Within budget (${budget}): ${late}.` };
}

const perSecond = (now, before, seconds) => (seconds > 0 ? `${count(Math.round((now - before) / seconds))}/s` : "–");

const bytes = (n) => (n < 1024 ? `${n} B` : n < 1 << 20 ? `${(n / 1024).toFixed(0)} KiB` : `${(n / (1 << 20)).toFixed(1)} MiB`);

function showShards(now, before, seconds) {
  byId("shards").replaceChildren(...now.shards.map((shard, i) => shardRow(shard, before.shards[i], i, seconds, now.edges_us)));
  const busy = {};
  for (const [i, shard] of now.shards.entries()) {
    for (const [stage, spent] of Object.entries(shard.stage_seconds ?? {})) {
      if (stage !== "sleep") busy[stage] = (busy[stage] ?? 0) + spent - (seconds > 0 ? (before.shards[i]?.stage_seconds?.[stage] ?? 0) : 0);
    }
  }
  const all = Object.values(busy).reduce((sum, n) => sum + n, 0);
  bars(byId("stages"), Object.entries(busy).map(([stage, n]) => [stage, all > 0 ? n / all : 0, all > 0 ? `${((100 * n) / all).toFixed(1)} %` : "–"]));
}

function shardRow(shard, before, i, seconds, edges) {
  const cell = (text) => element("td", {}, text);
  if (!shard.answers || !before?.answers) {
    return element("tr", { "data-answers": String(shard.answers) }, cell(String(i)), element("td", { colspan: "8" }, shard.answers ? "just came back" : "does not answer"));
  }
  const counts = between(shard.latency, before.latency);
  const asleep = shard.stage_seconds.sleep - before.stage_seconds.sleep;
  const spent = Object.keys(shard.stage_seconds).reduce((sum, k) => sum + shard.stage_seconds[k] - before.stage_seconds[k], 0);
  return element(
    "tr",
    { "data-answers": "true" },
    cell(String(i)),
    cell(spent > 0 ? `${(100 * (1 - asleep / spent)).toFixed(1)} %` : "–"),
    cell(count(shard.sessions)),
    cell(perSecond(shard.rx_packets, before.rx_packets, seconds)),
    cell(perSecond(shard.tx_packets, before.tx_packets, seconds)),
    cell(quantile(counts, edges, 0.5)),
    cell(quantile(counts, edges, 0.99)),
    cell(`${bytes(shard.receive_queue_bytes)} of ${bytes(shard.receive_queue_max_bytes)}`),
    cell(count(shard.receive_overflow_packets)),
  );
}

function showDrops(now, before, seconds) {
  const drops = Object.entries(now.drops).sort(([, a], [, b]) => b - a);
  const most = Math.max(...drops.map(([, n]) => n), 1);
  bars(byId("drops"), drops.map(([reason, n]) => [reason, n / most, `${count(n)}, ${perSecond(n, before.drops[reason] ?? 0, seconds)}`]));
  byId("no-drops").hidden = drops.length > 0;
}

/** @param {[string, number, string][]} rows name, share of the whole bar, text */
function bars(list, rows) {
  list.replaceChildren(
    ...rows.flatMap(([name, share, text]) => [
      element("dt", {}, name),
      element("dd", {}, bar(share), element("span", {}, text)),
    ]),
  );
}

async function readTree() {
  try {
    showTree(await ask("/attr/"));
  } catch (error) {
    setText(byId("server-state"), `The tree cannot be read (${error.message}).`);
  }
}

byId("tree-again").addEventListener("click", readTree);
readTree();
look();
