package shard

import (
	"sluice/dataplane/engine"
	"sluice/dataplane/internal/tcp"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// serveStreams takes what happened on TCP connections; it reports whether more
// may have.
func (s *Shard) serveStreams() (more bool) {
	if s.streams == nil {
		return false
	}
	more = s.streams.Poll(s.lapped)
	s.tellEngine()
	for {
		c, rx := s.streams.Receive(s.lapped)
		s.lap(engine.StageReceive)
		if c == nil {
			break
		}
		if !c.Placed() && !s.place(c, rx[0].Data) {
			continue
		}
		s.takeRelays()
		s.takeCommands()
		s.engine.HandleDatagrams(s.lapped, rx)
		if s.engine.Owns(c.Path().Remote) {
			s.streams.Claim(c)
		}
		s.lap(engine.StageDecrypt)
		s.drain()
	}
	s.tellEngine()
	return more || s.streams.More()
}

// place decides by a new connection's first frame where it belongs, and reports
// whether that is here: all of a session is on one shard.
func (s *Shard) place(c *tcp.Conn, first []byte) (here bool) {
	owner, ok := s.engine.Home(first)
	switch {
	case !ok:
		s.streams.Refuse(c, tcp.NoCheck)
		return false
	case owner == s.index:
		s.streams.Place(c)
		return true
	}
	c = s.streams.Release(c)
	select {
	case s.peers[owner].commands <- c:
		s.peers[owner].poller.Wake()
	default: // a shard never waits for another
		s.streams.Abandon(c)
	}
	return false
}

// tellEngine passes on what became of connections. True when the engine has more
// to send.
//
//hot:path
func (s *Shard) tellEngine() (more bool) {
	var remote pkt.Addr
	for s.streams.PollGone(&remote) {
		s.engine.StreamGone(s.lapped, remote)
	}
	for s.streams.PollWritable(&remote) {
		more = s.engine.StreamWritable(s.lapped, remote) || more
	}
	return more
}

// sendStreams writes what goes by TCP. True when the engine has more to send.
//
//hot:path
func (s *Shard) sendStreams() (more bool) {
	if len(s.tx.Streams()) == 0 {
		return false
	}
	s.engine.Counters.Drops[wire.DropTransmit] += uint64(s.streams.Send(s.tx))
	return s.tellEngine()
}

// hangUp closes the connections that are of no use any more.
func (s *Shard) hangUp() {
	if s.streams == nil {
		return
	}
	var remote pkt.Addr
	for s.engine.PollHangup(&remote) {
		s.streams.Hangup(remote)
	}
}
