// The attribute tree with its docs, read only.

import { byId, element } from "./dom.js";
import { plural } from "./format.js";

const figures = "figures"; // what lies at the top of the tree

/** @type {any[]} */
let entries = [];

/** @param {any[]} tree what /attr/ says */
export function showTree(tree) {
  entries = tree;
  fill();
}

function fill() {
  const words = byId("tree-filter").value.trim().toLowerCase();
  const shown = entries.filter((e) => !words || `${e.path} ${e.doc}`.toLowerCase().includes(words));
  const open = new Set([...byId("tree").querySelectorAll("details[open]")].map((d) => d.dataset.top));
  const groups = Map.groupBy(shown, (e) => (e.path.includes("/") ? e.path.split("/")[0] : figures));
  const byName = ([a], [b]) => (b === figures) - (a === figures) || (a < b ? -1 : 1);
  byId("tree").replaceChildren(...[...groups].sort(byName).map(([top, members]) => group(top, members, words !== "" || open.has(top))));
  byId("tree-none").hidden = shown.length > 0 || entries.length === 0;
}

function group(top, members, open) {
  const summary = element("summary", {}, `${top} `, element("span", {}, plural(members.length, "entry").replace(/entrys$/, "entries")));
  const details = element("details", { "data-top": top }, summary, ...members.map(attribute));
  details.open = open;
  return details;
}

function attribute(entry) {
  const value = entry.value === null ? "(can be written only)" : entry.value === "" ? "(empty)" : entry.value;
  return element(
    "div",
    { class: "attribute" },
    element("h4", {}, entry.path),
    element("pre", {}, value),
    element("p", {}, entry.doc),
    element("p", { class: "traits" }, traits(entry)),
  );
}

function traits(entry) {
  const facts = [entry.kind];
  if (entry.unit) facts.push(entry.unit);
  if (entry.kind === "integer") facts.push(`${entry.min} to ${entry.max}`);
  if (entry.default !== undefined) facts.push(`default ${entry.default === "" ? "empty" : entry.default.replaceAll("\n", " ")}`);
  facts.push(entry.boot ? "fixed at start" : entry.mode === "0444" ? "read only" : "live");
  facts.push(`since ${entry.since}`, entry.stability);
  return facts.join(", ");
}

byId("tree-filter").addEventListener("input", fill);
