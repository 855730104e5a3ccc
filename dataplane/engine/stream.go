package engine

import (
	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// Peers behind TCP connections (ICE-TCP, RFC 6544). A connection is one more
// address (pkt.Addr.Conn); what is different about it is that it may take no
// more. Then its viewers' cursors stay where they are, and when it takes more
// again the viewers are served alone, or skip what has become too old.

// StreamWindow is how many bytes of media a connection is given before the
// shell has said that the kernel took what was given before: what the shell has
// to keep at most. A frame train of 8 Mbit/s fits.
const StreamWindow = 32 << 10

// audioShare is the part of the window that video leaves alone: when there is
// room for little, there is room for sound.
const audioShare = StreamWindow / 4

// Home returns the shard that the first frame of a new connection belongs to. A
// connection begins with a check (RFC 6544 section 7.1), whose ufrag names the
// shard, or the one that knows.
func (e *Engine) Home(frame []byte) (shard int, ok bool) {
	var m wire.STUN
	if !wire.ParseSTUN(frame, &m) || m.Type != wire.STUNBindingRequest {
		return 0, false
	}
	return e.home(m.LocalUfrag())
}

// Owns reports whether a check of a session has come from an address.
func (e *Engine) Owns(remote pkt.Addr) bool {
	_, ok := e.byRemote[remote]
	return ok
}

// StreamWritable tells that the kernel has taken all that was given to a
// connection. True when PollTransmit has something for it now.
//
//hot:path
func (e *Engine) StreamWritable(now clock.Time, remote pkt.Addr) (more bool) {
	e.now = now
	h, ok := e.mediaTo(remote)
	if !ok {
		return false
	}
	l := &e.links[h.Index()]
	l.room = StreamWindow
	if l.starved {
		l.starved = false
		e.writable = append(e.writable, h)
	}
	return len(e.writable) > 0
}

// StreamGone tells that a connection has ended. A session whose media went there
// stays until its consent expires: its peer may come back.
func (e *Engine) StreamGone(now clock.Time, remote pkt.Addr) {
	e.now = now
	if h, ok := e.mediaTo(remote); ok {
		e.links[h.Index()].room = 0 // it takes no more, for ever
	} else if h, ok := e.byRemote[remote]; ok {
		e.sessions.Get(h).agent.Forget(remote)
		delete(e.byRemote, remote)
	}
}

// PollHangup returns the next connection that is of no use any more, false when
// there is none.
func (e *Engine) PollHangup(remote *pkt.Addr) bool {
	if len(e.hangups) == 0 {
		return false
	}
	*remote, e.hangups = e.hangups[0], e.hangups[1:]
	return true
}

// mediaTo returns the session whose media goes to a remote address.
//
//hot:path
func (e *Engine) mediaTo(remote pkt.Addr) (pkt.Handle, bool) {
	h, ok := e.byRemote[remote]
	return h, ok && e.links[h.Index()].remote == remote
}

// beginPath begins with a path that media has not gone to before, or not lately.
// A connection that another one takes the place of is closed.
func (e *Engine) beginPath(h pkt.Handle, s *session) {
	l, remote := &e.links[h.Index()], s.agent.Selected().Remote
	if l.remote.Stream() && remote.Stream() && l.remote != remote {
		s.agent.Forget(l.remote)
		e.forgetRemote(h, l.remote)
	}
	l.remote, l.room, l.starved = remote, StreamWindow, false
	e.writable = append(e.writable, h)
}

// serveWritable serves the sessions whose connections take more again; false when
// tx is full.
//
//hot:path
func (e *Engine) serveWritable(tx *pkt.Batch) bool {
	for ; len(e.writable) > 0; e.writable = e.writable[:len(e.writable)-1] {
		s := e.sessions.Get(e.writable[len(e.writable)-1])
		if s == nil {
			continue
		}
		for _, h := range s.egress[:s.nOut] {
			if !e.serve(e.routes[e.egresses.Get(h).route], h, tx) {
				return false
			}
		}
	}
	return true
}

// roomFor reports whether a connection may be given another packet of a kind;
// when it may not, the session is served again once it may.
//
//hot:path
func (e *Engine) roomFor(l *link, kind msg.Kind) bool {
	room := l.room - wire.FrameHead - e.set.MTU
	if kind == msg.Video {
		room -= audioShare
	}
	if room < 0 {
		l.starved = true
	}
	return room >= 0
}

// keepUp lets a viewer skip what its connection did not take in time: to the
// newest keyframe, or else to the next one that comes, which is asked for; what
// is in between is of no use to a decoder. Sound skips to what is young enough.
//
//hot:path
func (e *Engine) keepUp(r *route, eg *egress) {
	lost := eg.cursor < r.ring.Tail()
	if lost {
		e.fellBehind(r, eg)
	}
	head := r.ring.Head()
	switch {
	case !lost && !e.late(r, eg):
	case r.kind == msg.Audio:
		for eg.cursor < head && e.late(r, eg) {
			e.skip(r, eg, eg.cursor+1)
		}
	case r.hasKey && r.keyAt > eg.cursor && e.now.Sub(r.keyframe().Arrived) <= e.set.StreamLag:
		e.skip(r, eg, r.keyAt)
	default:
		e.skip(r, eg, head)
		eg.waitKey = true
	}
}

// late reports whether what is next has waited for a viewer longer than it
// should. What the viewer began with was old before.
//
//hot:path
func (e *Engine) late(r *route, eg *egress) bool {
	at := max(eg.cursor, eg.measured)
	if at >= r.ring.Head() {
		return false
	}
	p, _ := r.ring.At(at)
	return e.now.Sub(p.Arrived) > e.set.StreamLag
}

// awaitKey moves a viewer that waits for a keyframe on; false while none came.
//
//hot:path
func (e *Engine) awaitKey(r *route, eg *egress) bool {
	if r.hasKey && r.keyAt >= eg.cursor {
		e.skip(r, eg, r.keyAt)
		eg.waitKey = false
		return true
	}
	e.skip(r, eg, r.ring.Head())
	e.requestKeyframe(r)
	return false
}

// skip drops what a viewer has not got before a position.
//
//hot:path
func (e *Engine) skip(r *route, eg *egress, to uint64) {
	eg.leave(to)
	for ; eg.cursor < to; eg.cursor++ {
		p, _ := r.ring.At(eg.cursor)
		e.Counters.Drops[wire.DropStreamBehind]++
		if r.kind == msg.Video && p.Marker {
			e.Counters.Skipped++
		}
	}
}
