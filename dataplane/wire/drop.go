package wire

// Drop says why a datagram ended here, or that it did not. Functions on the
// packet path return one instead of an error: a byte, counted by reason.
type Drop uint8

// The reasons. Their names (String) are the label values of the metric
// sluice_drops_total, and so may not change lightly.
const (
	Kept Drop = iota // not dropped

	DropEmpty        // no bytes
	DropTruncated    // larger than the receive buffer
	DropUnknownProto // first byte outside RFC 7983's ranges, or ZRTP, or ChannelData
	DropUnknownTuple // not STUN, and no session has this remote address

	DropSTUNMalformed   // not a well-formed STUN message
	DropSTUNClass       // not a binding request
	DropSTUNUnknownUser // no session of that ufrag
	DropSTUNIntegrity   // MESSAGE-INTEGRITY missing or wrong, or FINGERPRINT wrong
	DropSTUNAttribute   // an unknown comprehension-required attribute
	DropSTUNRole        // the peer claims the controlled role too
	DropSTUNBudget      // this source sent too many bad checks

	DropDTLSUnchecked // DTLS from an address without an authenticated check
	DropDTLSBudget    // more DTLS than a handshake needs, or nobody takes it

	DropNoKeys     // SRTP before the handshake ended
	DropMalformed  // RTP or RTCP whose lengths lie
	DropUnexpected // RTP from a peer that publishes nothing or was replaced, or of an SSRC that may not be taken on
	DropAuth       // SRTP authentication failed
	DropAuthBudget // of an SSRC that never authenticated, after too many failures of its session
	DropReplay     // seen before, or older than the replay window
	DropDuplicate  // authentic, but already forwarded (a retransmission that was not needed)
	DropBeforeKey  // waiting for the first keyframe of a source
	DropLate       // older than what the route has kept

	DropMTU          // would exceed the mtu attribute after rewriting
	DropViewerBehind // a viewer's backlog fell out of the history
	DropOverdue      // later than the stream's late_drop_us
	DropShed         // so late that the shard must be behind
	DropStreamBehind // a viewer's TCP connection did not take it in time
	DropRelayFull    // the ring to the owning shard is full
	DropTransmit     // the kernel refused the packet
	NumDrop
)

func (d Drop) String() string { return dropNames[d] }

// DropNames returns the names of all reasons, indexed by Drop.
func DropNames() []string { return dropNames[:] }

var dropNames = [NumDrop]string{
	Kept:                "kept",
	DropEmpty:           "empty",
	DropTruncated:       "truncated",
	DropUnknownProto:    "unknown_protocol",
	DropUnknownTuple:    "unknown_tuple",
	DropSTUNMalformed:   "stun_malformed",
	DropSTUNClass:       "stun_class",
	DropSTUNUnknownUser: "stun_unknown_user",
	DropSTUNIntegrity:   "stun_integrity",
	DropSTUNAttribute:   "stun_attribute",
	DropSTUNRole:        "stun_role",
	DropSTUNBudget:      "stun_budget",
	DropDTLSUnchecked:   "dtls_unchecked",
	DropDTLSBudget:      "dtls_budget",
	DropNoKeys:          "no_keys",
	DropMalformed:       "malformed",
	DropUnexpected:      "unexpected",
	DropAuth:            "auth",
	DropAuthBudget:      "auth_budget",
	DropReplay:          "replay",
	DropDuplicate:       "duplicate",
	DropBeforeKey:       "before_keyframe",
	DropLate:            "late",
	DropMTU:             "mtu",
	DropViewerBehind:    "viewer_behind",
	DropOverdue:         "overdue",
	DropShed:            "shed",
	DropStreamBehind:    "tcp_behind",
	DropRelayFull:       "relay_full",
	DropTransmit:        "transmit",
}
