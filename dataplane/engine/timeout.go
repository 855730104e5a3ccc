package engine

import (
	"sluice/dataplane/clock"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// PollTimeout returns when HandleTimeout is due next, clock.Never while there
// is nothing to watch over.
func (e *Engine) PollTimeout() clock.Time {
	due := min(e.nextHeld(), e.pacedUntil(), e.nextFast)
	if e.sessions.Len() > 0 || len(e.foreign) > 0 {
		due = min(due, e.nextSlow)
	}
	return due
}

// HandleTimeout does what is due. Calling it early or late is harmless.
func (e *Engine) HandleTimeout(now clock.Time) {
	e.now = now
	e.endHolds()
	if now >= e.pacedUntil() {
		e.nextPace = now.Add(paceTick)
		e.tickPaced()
	}
	if now >= e.nextFast {
		e.nextFast, e.lastFast = clock.Never, now
		e.tickSources()
	}
	if now >= e.nextSlow {
		stalled := now.Sub(e.nextSlow) >= slowTick
		e.nextSlow = now.Add(slowTick)
		e.tickSessions(stalled)
	}
}

// feedbackDue has publishers looked after at an instant, but not sooner than
// fastTick after the last time: then all of them are.
//
//hot:path
func (e *Engine) feedbackDue(at clock.Time) {
	if at < e.nextFast {
		e.nextFast = max(at, e.lastFast.Add(fastTick))
	}
}

// tickSources sends feedback to publishers.
func (e *Engine) tickSources() {
	for _, h := range e.sources {
		in := e.ingresses.Get(h)
		e.reportIngress(in)
	}
	for _, h := range e.sources {
		in := e.ingresses.Get(h)
		if s := e.sessions.Get(in.session); s.ingress[0] == h {
			e.reportArrivals(in.session, s, &e.links[in.session.Index()])
		}
	}
}

// tickSessions ends sessions whose time is over, and renews budgets. After a stall,
// when the process was stopped, nobody's is over before the next time: checks that
// came meanwhile may wait in the socket of another shard.
func (e *Engine) tickSessions(stalled bool) {
	e.refusals = 0
	if !stalled {
		e.expireForeign()
	}
	for i := range e.outboxes {
		e.outboxes[i].shrink()
	}
	e.sessions.All(func(h pkt.Handle, s *session) {
		s.punts, s.forged = 0, 0
		for i := range s.nOut {
			e.egresses.Get(s.egress[i]).resent = 0
		}
		if reason, over := e.expired(s); over && !stalled {
			e.Counters.Expired++
			e.closed = append(e.closed, msg.SessionClosed{ID: s.id, Reason: reason})
			e.removeSession(h)
			return
		}
		if l := &e.links[h.Index()]; e.now.Sub(s.restarted) >= e.set.SetupTimeout {
			e.forgetFormer(l)
		}
		if s.nIn > 0 {
			e.reportReception(h, s)
		}
	})
}

// expired says whether and why a session is over. A setup stage, to the first
// check and from there to the keys, has SetupTimeout; afterwards consent counts,
// and must last until the next tick: no media goes out without.
func (e *Engine) expired(s *session) (msg.CloseReason, bool) {
	late := e.now.Sub(s.since) >= e.set.SetupTimeout
	switch {
	case s.agent.Selected() == nil:
		return msg.ClosedNoCheck, late
	case !s.keyed:
		return msg.ClosedNoKeys, late
	}
	return msg.ClosedNoConsent, !s.agent.Consents(e.now.Add(slowTick))
}

// foreignLife keeps what is known of other shards' sessions a little longer
// than the owner lets them live.
const foreignLife = 2 * ice.ConsentTimeout

// expireForeign forgets remote addresses whose owner has not renewed them.
func (e *Engine) expireForeign() {
	for remote, owner := range e.foreign {
		if e.now.Sub(owner.renewed) >= foreignLife {
			delete(e.foreign, remote)
		}
	}
}
