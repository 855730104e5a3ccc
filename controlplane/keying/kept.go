package keying

import (
	"time"

	"sluice/dataplane/pkt"
)

// The last flight is repeated no more often than a client's retransmission
// timer can ask for it, and no longer than a client goes on asking: timers
// start at 50 ms or more and double, so ten replays outlast any handshake.
const (
	replayInterval = 50 * time.Millisecond
	maxReplays     = 10
)

// kept is all that is left of the DTLS connection of a session that has its
// keys: two datagrams, encrypted once and only ever sent as they are, so that
// no nonce is used twice.
type kept struct {
	path     pkt.Path // where the peer's last datagram came from
	flight   []byte   // ChangeCipherSpec and Finished
	notify   []byte   // close_notify
	replayed time.Time
	replays  int
}

// mayReplay reports whether the last flight may be sent once more, and counts it.
func (k *kept) mayReplay(now time.Time) bool {
	if k.replays == maxReplays || now.Sub(k.replayed) < replayInterval {
		return false
	}
	k.replayed = now
	k.replays++
	return true
}

func (k *kept) bytes() int { return len(k.flight) + len(k.notify) }
