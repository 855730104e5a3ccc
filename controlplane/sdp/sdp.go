// Package sdp answers the offers of publishers (WHIP, RFC 9725) and viewers
// (WHEP): it reads an offer, says which media would flow, and writes the answer.
//
// An Offer is checked as a whole when it is parsed, so that what comes later
// need not doubt it. Publish or Subscribe then makes a Selection: which payload
// types, header extensions and feedback both sides can live with. The caller
// fills in what is ours (SSRC, CNAME, MSID) and asks the Selection for its Answer.
//
// The package is pure: no sockets, clock or randomness. Values are not safe for
// concurrent use while they are changed.
package sdp

import (
	"fmt"
	"strings"

	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// Error says what is wrong with an offer and where.
type Error struct {
	Line   int    // the line of the offer, from 1; 0 where something is missing altogether
	Field  string // the line's beginning, such as "a=fingerprint" or "m=video"
	Reason string // what is wrong, what is allowed, what to do
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Field + ": " + e.Reason
	}
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Field, e.Reason)
}

// Mismatch says that a viewer cannot decode what a stream carries.
type Mismatch struct {
	Kind      msg.Kind
	Published Format
	Offered   []string // what the viewer can decode of that kind, empty when it wants none
}

func (m *Mismatch) Error() string {
	if m.Published.Codec == codec.Unknown {
		return "the stream carries nothing yet"
	}
	if len(m.Offered) == 0 {
		return fmt.Sprintf("the stream's %v is %v, but the offer asks for no %v", m.Kind, m.Published, m.Kind)
	}
	return fmt.Sprintf("the stream's %v is %v, but the offer can decode only %s",
		m.Kind, m.Published, strings.Join(m.Offered, ", "))
}

// Track is one kind of media that a stream carries.
type Track struct {
	Kind   msg.Kind
	Format Format
}

// Selection is what an offer and Sluice agree on.
type Selection struct {
	Ufrag, Pwd string // the peer's ICE credentials
	// Fingerprints are of the peer's certificate; any one of them must match it
	// (RFC 8122 section 5). Never empty.
	Fingerprints []Fingerprint
	// Active says that we begin the DTLS handshake, as its client: the peer offered
	// to be passive.
	Active bool
	// Media holds one element for each m-section of the offer, in its order.
	Media []Media

	offer *Offer
	send  bool // we send: the peer is a viewer
	open  bool // the peer chooses the DTLS role: this is an offer
}

// Fingerprint is the hash of a certificate (RFC 8122).
type Fingerprint struct {
	Algorithm string // "sha-256", "sha-384" or "sha-512"
	Value     []byte
}

// Media is one m-section.
type Media struct {
	Kind msg.Kind // meaningful only where Accepted
	MID  string
	// Accepted says that media flows. Everything below is meaningful only then.
	Accepted bool
	Format   Format
	PT       uint8 // payload type, the peer's number
	RTXPT    uint8 // of the retransmissions (RFC 4588), 0 for none

	// SSRC and RTXSSRC are those of the sender. A publisher's come from its offer,
	// 0 for unknown. For a viewer they are ours, and the caller sets them before
	// Answer: SSRC always, RTXSSRC where RTXPT is not 0.
	SSRC, RTXSSRC uint32
	// CNAME (RFC 3550 section 6.5.1) and MSID, the id of the media stream
	// (RFC 8830), are ours, set by the caller before the Answer to a viewer; the
	// same for audio and video, so that they are played in sync.
	CNAME, MSID string

	ExtIDs   wire.ExtIDs // the peer's ids of the extensions that both sides know
	ExtMixed bool        // the peer takes two-byte extensions (RFC 8285 section 6)
	Feedback msg.Feedback

	section  *section
	format   format
	inactive bool              // stays in the BUNDLE group, carries nothing
	directed [wire.NumExt]bool // the offer gave the extension a direction
}
