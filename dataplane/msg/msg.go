// Package msg is the vocabulary between the control plane and a shard: plain
// structs through a mailbox, nothing shared.
//
// Commands go down and are carried out in order. Events come up; each says
// whether it may be lost. A shard never waits for the control plane: what may
// not be lost is state that the engine reports again until it is taken.
package msg

import (
	"fmt"
	"time"

	"sluice/dataplane/codec"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// SessionID names a session for the life of the process. The upper byte is the
// shard that owns it.
type SessionID uint64

// NewSessionID returns the id of a shard's serial-th session.
func NewSessionID(shard int, serial uint64) SessionID {
	return SessionID(uint64(shard)<<56 | serial&(1<<56-1))
}

// Shard returns the shard that owns the session.
func (id SessionID) Shard() int { return int(id >> 56) }

func (id SessionID) String() string { return fmt.Sprintf("%d.%d", id.Shard(), uint64(id)<<8>>8) }

// RouteID names one kind of media of one stream: what an ingress feeds and
// egresses hang on. It outlives the publisher, so viewers can stay while one
// restarts.
type RouteID uint32

// Kind is audio or video.
type Kind uint8

// The kinds of media.
const (
	Audio Kind = iota
	Video
)

func (k Kind) String() string { return [...]string{"audio", "video"}[k] }

// Profile is an SRTP protection profile by its number in the DTLS-SRTP registry
// (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
type Profile uint16

// The profiles Sluice can run.
const (
	ProfileAES128CMSHA180 Profile = 1
	ProfileAES128GCM      Profile = 7
	ProfileAES256GCM      Profile = 8
)

// Keys are the SRTP master keys of a session, from the DTLS exporter (RFC 5764
// section 4.2). Only the first bytes of Key and Salt that the profile needs count.
type Keys struct {
	Profile Profile
	Local   MasterKey // what we protect with
	Remote  MasterKey // what the peer protects with
}

// MasterKey is one direction's master key and salt.
type MasterKey struct {
	Key  [32]byte
	Salt [14]byte
}

// CNAME is the canonical name of all that we send (RFC 3550 section 6.5.1): the
// streams of a session are synchronised, and sessions do not mix.
const CNAME = "sluice"

// Command is what the control plane asks of a shard.
type Command interface{ command() }

// AddSession makes a session that waits for connectivity checks.
type AddSession struct {
	ID    SessionID
	Ufrag string // ours; every check to this session names it
	Pwd   string // ours
	// Receive is what the peer may send us, Send what we send it. Either may be empty.
	Receive []Receive
	Send    []Send
}

// Receive is one m-section in which the peer sends: an ingress to be.
type Receive struct {
	Route     RouteID
	Kind      Kind
	Codec     codec.Codec
	ClockRate uint32 // Hz
	MID       string
	PT        uint8  // payload type of the media
	RTXPT     uint8  // of its retransmissions (RFC 4588), 0 for none
	SSRC      uint32 // as the offer says, 0 for unknown
	RTXSSRC   uint32
	ExtIDs    wire.ExtIDs
	Feedback  Feedback
}

// Send is one m-section in which we send: an egress to be.
type Send struct {
	Route     RouteID
	Kind      Kind
	ClockRate uint32 // Hz
	MID       string
	PT        uint8
	RTXPT     uint8 // 0 for none: retransmissions repeat the packet itself
	SSRC      uint32
	RTXSSRC   uint32
	ExtIDs    wire.ExtIDs
	ExtMixed  bool // the viewer takes two-byte extensions (RFC 8285 section 6)
	Feedback  Feedback
}

// Feedback says which RTCP feedback was agreed on (RFC 4585, RFC 5104).
type Feedback struct {
	NACK, PLI, FIR, TransportCC, ReducedSize bool
}

// InstallKeys gives a session its SRTP keys: media flows from then on. Path is
// where the handshake ended, and where media goes first.
//
// Flight is the datagram that ends the handshake for the peer. It is sent when
// our keys are in place, since the peer's media may follow at once, and ahead of
// our media, which the peer could not read before.
type InstallKeys struct {
	ID     SessionID
	Path   pkt.Path
	Keys   Keys
	Flight []byte
}

// RemoveSession ends a session at once; its handles are free when the command
// has been carried out. No SessionClosed follows.
type RemoveSession struct{ ID SessionID }

// RestartICE gives a session new ICE credentials (RFC 8445 section 2.4). Nothing
// else changes. The former ones stay good until the peer has nominated a pair
// with the new ones, or the time to set up a session has passed.
type RestartICE struct {
	ID         SessionID
	Ufrag, Pwd string // ours
}

// TakeCheck gives a shard a check to answer that Landed told of.
type TakeCheck struct{ Check }

// Check is a connectivity check as it came.
type Check struct {
	Path  pkt.Path
	Shard int // whose socket it came to
	Data  []byte
}

// ForwardChecks has a shard pass on the checks for a ufrag that names it, but whose
// session is on another shard; with its own number it does so no more.
type ForwardChecks struct {
	Ufrag string
	Shard int
}

// SendDatagram sends bytes as they are, for DTLS, to one of the session's
// checked addresses. It is dropped when Path is none of them.
type SendDatagram struct {
	ID   SessionID
	Path pkt.Path
	Data []byte
}

// AddRoute makes a route known to a shard before anything names it. Codec and
// clock rate are those of what will flow.
type AddRoute struct {
	Route     RouteID
	Kind      Kind
	Codec     codec.Codec
	ClockRate uint32
	// Home is the shard where the route's ingress lives. Keyframe requests go
	// there; media comes from there.
	Home int
	// Shards holds a bit for each shard that has egresses of the route; only
	// the home shard uses it.
	Shards uint64
}

// RemoveRoute forgets a route; its egresses stop.
type RemoveRoute struct{ Route RouteID }

// TuneRoute gives a route of a shard settings of its own. It forgets them when it
// is removed.
type TuneRoute struct {
	Route RouteID
	Tuning
}

// Tuning is what is settled of one route; where it is 0, the engine's settings hold.
type Tuning struct {
	Deadlines
	GOPBytes int   // as in the engine's settings; negative for none
	Marked   bool  // Class holds, 0 too
	Class    uint8 // traffic class of what viewers get
}

// Deadlines say how long a packet may take from the kernel's receive timestamp to
// the return of the call that sends it on. 0 is for ever.
type Deadlines struct {
	Budget   time.Duration // what takes longer is counted
	LateDrop time.Duration // what would take longer is not sent, by whole frames
}

// Inject hands the home shard of a route one plaintext RTP packet of a source
// that is not a WebRTC peer. The shard owns Packet from then on.
type Inject struct {
	Route  RouteID
	Packet []byte
}

func (AddSession) command()    {}
func (InstallKeys) command()   {}
func (RemoveSession) command() {}
func (RestartICE) command()    {}
func (TakeCheck) command()     {}
func (ForwardChecks) command() {}
func (SendDatagram) command()  {}
func (AddRoute) command()      {}
func (RemoveRoute) command()   {}
func (TuneRoute) command()     {}
func (Inject) command()        {}

// Event is what a shard tells the control plane.
type Event interface{ event() }

// PairSelected says that media goes to Path; the first one, that there is a path
// to the peer at all. Not lost: the engine reports it until it is taken. Of
// several changes that nobody took in between, the last one counts.
type PairSelected struct {
	ID   SessionID
	Path pkt.Path
}

// Landed says that the first check of a publisher came to the socket of another
// shard, where its media will come too. The check is not answered yet: it waits for
// TakeCheck, here or there. May be lost: a peer that gets no answer checks again.
type Landed struct {
	ID SessionID
	Check
}

// Punt carries a DTLS datagram that came from an address with an authenticated
// check. May be lost: DTLS sends again.
type Punt struct {
	ID   SessionID
	Path pkt.Path
	Data []byte
}

// SessionClosed says that the engine ended the session. Not lost: the engine
// reports it until it is taken.
type SessionClosed struct {
	ID     SessionID
	Reason CloseReason
}

// SegmentationLost says that the kernel stopped taking trains from a shard, which
// sends each packet alone from now on. May be lost: it informs, and is counted.
type SegmentationLost struct{ Shard int }

func (PairSelected) event()     {}
func (Landed) event()           {}
func (Punt) event()             {}
func (SessionClosed) event()    {}
func (SegmentationLost) event() {}

// CloseReason says why the engine ended a session.
type CloseReason uint8

// The reasons.
const (
	ClosedNoCheck   CloseReason = iota // no authenticated check came in time
	ClosedNoKeys                       // checks came, but no keys in time
	ClosedNoConsent                    // the peer stopped checking, and sending (RFC 7675 section 5.1)
)

func (r CloseReason) String() string {
	return [...]string{
		"no authenticated connectivity check arrived in time",
		"the DTLS handshake did not end in time",
		"consent expired: no connectivity check and no authentic packet for 30 s",
	}[r]
}
