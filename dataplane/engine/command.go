package engine

import (
	"fmt"
	"slices"

	"sluice/dataplane/clock"
	"sluice/dataplane/feedback"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/srtp"
	"sluice/dataplane/wire"
)

// HandleCommand carries out a command. Commands about what is gone do nothing:
// the engine may have ended it while the command was on its way.
func (e *Engine) HandleCommand(now clock.Time, c msg.Command) {
	e.now = now
	switch c := c.(type) {
	case msg.AddRoute:
		e.addRoute(&c)
	case msg.RemoveRoute:
		e.removeRoute(c.Route)
	case msg.AddSession:
		e.addSession(&c)
	case msg.InstallKeys:
		e.installKeys(&c)
	case msg.RemoveSession:
		if h, ok := e.byID[c.ID]; ok {
			e.removeSession(h)
		}
	case msg.RestartICE:
		e.restartICE(&c)
	case msg.TakeCheck:
		e.datagram(&pkt.Datagram{Path: c.Path, Arrived: now, Data: c.Data}, c.Shard)
	case msg.ForwardChecks:
		e.forwardChecks(&c)
	case msg.SendDatagram:
		e.sendDatagram(&c)
	case msg.TuneRoute:
		if r := e.routes[c.Route]; r != nil {
			r.tuning = c.Tuning
		}
	case msg.Inject:
		e.inject(&c)
	default:
		panic(fmt.Sprintf("engine: no such command: %T", c))
	}
}

// addRoute makes a route, or tells an existing one what changed.
func (e *Engine) addRoute(c *msg.AddRoute) {
	r := e.routes[c.Route]
	if r == nil {
		r = &route{id: c.Route, home: c.Home, space: e.newSource()}
		e.routes[c.Route] = r
	}
	if r.home != c.Home {
		r.hasKey = false // nobody starts on what the former home sent
	}
	r.kind, r.codec, r.clockRate, r.home = c.Kind, c.Codec, c.ClockRate, c.Home
	shards := c.Shards
	if c.Home != e.cfg.Shard {
		shards = 0
	}
	e.followRoute(r, shards)
}

func (e *Engine) removeRoute(id msg.RouteID) {
	r := e.routes[id]
	if r == nil {
		return
	}
	if len(r.egresses) > 0 || !r.ingress.IsZero() {
		panic("engine: route removed while sessions use it")
	}
	r.remotes = nil // an outbox may still name the route, for nobody
	dirty := &e.dirty[r.kind]
	dirty.routes = slices.DeleteFunc(dirty.routes, func(d *route) bool { return d == r })
	e.held = slices.DeleteFunc(e.held, func(d *route) bool { return d == r })
	delete(e.routes, id)
}

func (e *Engine) addSession(c *msg.AddSession) {
	h, s, ok := e.sessions.Alloc()
	if !ok {
		panic("engine: more sessions than the control plane may place")
	}
	s.id, s.since = c.ID, e.now
	s.feedbackSSRC = uint32(e.rand()) | 1
	if h.Index() == len(e.links) {
		e.links = append(e.links, link{})
	}
	e.links[h.Index()] = link{local: credentials{c.Ufrag, ice.NewCredentials(c.Pwd)}}
	e.byID[c.ID] = h
	e.byUfrag[c.Ufrag] = h
	for i := range c.Receive {
		e.addIngress(h, s, &c.Receive[i])
	}
	for i := range c.Send {
		e.addEgress(h, s, &c.Send[i])
	}
	e.nextSlow = min(e.nextSlow, e.now.Add(slowTick))
}

func (e *Engine) addIngress(session pkt.Handle, s *session, c *msg.Receive) {
	h, in, ok := e.ingresses.Alloc()
	if !ok {
		panic("engine: more streams than the control plane may place")
	}
	in.session, in.route, in.source = session, c.Route, e.newSource()
	in.kind, in.codec, in.clockRate = c.Kind, c.Codec, c.ClockRate
	in.pt, in.rtxPT, in.ssrc, in.rtxSSRC = c.PT, c.RTXPT, c.SSRC, c.RTXSSRC
	in.fb = c.Feedback
	if len(c.MID) <= maxMIDLen {
		in.midLen = uint8(copy(in.mid[:], c.MID))
		in.midExt = c.ExtIDs[wire.ExtMID]
	}
	in.ccExt = c.ExtIDs[wire.ExtTransportCC]
	for ext, id := range c.ExtIDs {
		if e := wire.Ext(ext); id != 0 && int(id) < len(in.exts) && e.Forwarded() {
			in.exts[id] = e
		}
	}
	s.ingress[s.nIn] = h
	s.nIn++
	s.reducedSize = c.Feedback.ReducedSize
	if l := &e.links[session.Index()]; c.Feedback.TransportCC && l.arrivals == nil {
		l.arrivals = &feedback.Arrivals{}
	}
	e.sources = append(e.sources, h)
	r := e.routes[c.Route]
	r.ingress, r.deaf = h, !c.Feedback.PLI && !c.Feedback.FIR
}

func (e *Engine) addEgress(session pkt.Handle, s *session, c *msg.Send) {
	h, eg, ok := e.egresses.Alloc()
	if !ok {
		panic("engine: more streams than sessions can have")
	}
	eg.session, eg.route = session, c.Route
	eg.view.SSRC, eg.view.PT, eg.view.IDs, eg.view.Mixed = c.SSRC, c.PT, c.ExtIDs, c.ExtMixed
	eg.view.SetMID(c.MID)
	eg.rtxPT, eg.rtxSSRC, eg.rtxIndex = c.RTXPT, c.RTXSSRC, e.rand()&0x7fff
	s.egress[s.nOut] = h
	s.nOut++
	r := e.routes[c.Route]
	r.egresses = append(r.egresses, h)
	r.turn = 0
}

func (e *Engine) installKeys(c *msg.InstallKeys) {
	h, ok := e.byID[c.ID]
	if !ok {
		return
	}
	s, l := e.sessions.Get(h), &e.links[h.Index()]
	if s.keyed {
		panic("engine: session keyed twice: an SRTP index could be used twice")
	}
	ciphers, err := srtp.NewContext(&c.Keys, &e.cipher)
	if err != nil {
		panic("engine: keys of a profile that was not offered: " + err.Error())
	}
	s.keyed, s.keys, l.ciphers = true, c.Keys, ciphers
	e.authentic(s, &c.Path)
	if len(c.Flight) > 0 {
		e.sendDatagram(&msg.SendDatagram{ID: c.ID, Path: c.Path, Data: c.Flight})
	}
	e.deliverEarly(h, s, l)
	for i := range s.nOut {
		e.markDirty(e.routes[e.egresses.Get(s.egress[i]).route])
	}
}

func (e *Engine) removeSession(h pkt.Handle) {
	s, l := e.sessions.Get(h), &e.links[h.Index()]
	for i := range s.nIn {
		e.removeIngress(s.ingress[i])
	}
	for i := range s.nOut {
		e.removeEgress(s.egress[i])
	}
	e.Counters.Drops[wire.DropNoKeys] += uint64(len(e.takeEarly(h)))
	s.agent.Remotes(func(remote pkt.Addr) { e.forgetRemote(h, remote) })
	delete(e.byID, s.id)
	delete(e.byUfrag, l.local.ufrag)
	delete(e.byUfrag, l.former.ufrag)
	*l = link{}
	e.sessions.Free(h)
}

func (e *Engine) removeIngress(h pkt.Handle) {
	if r := e.routes[e.ingresses.Get(h).route]; r.ingress == h {
		r.ingress, r.deaf = pkt.Handle{}, false
	}
	e.sources = slices.DeleteFunc(e.sources, func(s pkt.Handle) bool { return s == h })
	e.ingresses.Free(h)
}

func (e *Engine) removeEgress(h pkt.Handle) {
	r := e.routes[e.egresses.Get(h).route]
	r.egresses = slices.DeleteFunc(r.egresses, func(eg pkt.Handle) bool { return eg == h })
	r.turn = 0
	e.egresses.Free(h)
}

// sendDatagram sends DTLS, but only where a check has been: not a byte goes to
// an address that nobody proved to own. A peer that has moved since gets it
// where its media goes.
func (e *Engine) sendDatagram(c *msg.SendDatagram) {
	h, ok := e.byID[c.ID]
	if !ok {
		return
	}
	agent := &e.sessions.Get(h).agent
	if !agent.Knows(&c.Path) {
		selected := agent.Selected()
		if selected == nil {
			return
		}
		c.Path = *selected
	}
	slot := e.control.Reserve(len(c.Data))
	if slot == nil {
		e.Counters.Drops[wire.DropTransmit]++
		return
	}
	copy(slot, c.Data)
	e.control.Commit(&c.Path, len(c.Data))
}
