// The newest sessions: who they are, and how their media fares, by their own reports
// where they receive and by ours where they send.

import { byId, element, setText } from "./dom.js";
import { count, plural } from "./format.js";
import { duration } from "./histogram.js";

const most = 20; // each is a request

const serial = (id) => Number(id.split(".")[1]);

/** @param {(path: string) => Promise<any>} ask asks for JSON */
export async function showSessions(ask) {
  const response = await fetch("/attr/sessions/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
  const ids = (await response.text()).split("\n").filter(Boolean);
  const newest = ids.sort((a, b) => serial(b) - serial(a)).slice(0, most);
  const all = await Promise.all(newest.map((id) => ask(`/attr/sessions/${id}`).catch(() => null))); // one may have ended meanwhile
  byId("sessions").replaceChildren(...all.filter(Boolean).map(row));
  setText(byId("sessions-count"), ids.length > most ? `the newest ${most} of ${count(ids.length)}` : plural(ids.length, "session"));
}

function row(session) {
  const sends = session.media?.sends ?? [];
  const receives = session.media?.receives ?? [];
  const told = sends.map((s) => s.reported).filter(Boolean);
  const sum = (list, key) => list.reduce((n, s) => n + s[key], 0);
  const worst = (list, key) => (list.length ? Math.max(...list.map((s) => s[key])) : 0);
  const expected = sum(receives, "expected_packets");
  const lost = receives.length ? (expected ? 1 - sum(receives, "received_packets") / expected : null) : told.length ? worst(told, "lost_fraction") : null;
  const jitter = receives.length ? worst(receives, "jitter_ns") : told.length ? worst(told, "jitter_ns") : null;
  const cells = [
    session.id,
    session.stream,
    session.role,
    session.media?.paths?.find((p) => p.selected)?.remote ?? "–",
    count(sum(sends, "sent_packets") + sum(receives, "received_packets")),
    lost === null ? "–" : `${(100 * Math.max(0, lost)).toFixed(1)} %`,
    jitter === null ? "–" : duration(jitter / 1000),
    worst(told, "rtt_ns") ? duration(worst(told, "rtt_ns") / 1000) : "–",
  ];
  return element("tr", {}, ...cells.map((text) => element("td", {}, text)));
}
