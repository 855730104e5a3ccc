package engine

import "sluice/dataplane/wire"

// Anyone can send what looks like a peer's SRTP from what looks like its address,
// and only the tag tells. So a session has a budget of wrong tags. When it is
// spent, what comes of SSRCs that never authenticated is dropped unread until the
// next second: they are 32 random bits, which who does not see the stream has to
// guess. Packets of the peer's streams are tried all the same: to drop those
// would let a few forgeries silence a session, and to try one costs about what it
// costs to receive it.

// refused reports whether a packet is dropped without a look at its tag.
//
//hot:path
func (e *Engine) refused(s *session, known bool) bool {
	return !known && int(s.forged) >= e.set.ForgedPerSecond
}

// forgery counts a packet with a wrong tag.
//
//hot:path
func (s *session) forgery() wire.Drop {
	s.forged++
	return wire.DropAuth
}
