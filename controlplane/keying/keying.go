// Package keying gives sessions their SRTP keys by DTLS handshakes (DTLS-SRTP,
// RFC 5763 and RFC 5764): as the DTLS server, or as the client for a peer that
// offered to be passive.
//
// The datagrams are those that the data plane punts; what is sent goes back
// through it. A handshake costs about 40 kB and a few goroutines while it
// lasts, so nothing is spent before a ClientHello comes or may be sent, only so
// many handshakes run at once, of all and of a source, and others wait as the few
// datagrams they are. Once a
// session has its keys, its DTLS connection is taken down to two recorded
// datagrams: the last flight, for a peer that missed it, and the close_notify.
package keying

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pion/dtls/v3"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// Config says how a Keyer works. Certificate, Send, Done and Failed are needed.
// The callbacks may be called from many goroutines at once and may call the
// Keyer.
type Config struct {
	// Certificate is what we show to every peer: one a process, ECDSA P-256,
	// which every WebRTC peer takes (RFC 8827 section 6.5). NewCertificate
	// makes one.
	Certificate tls.Certificate

	// Parallel is how many handshakes may run at once; 0 is 64 for each CPU. A
	// handshake mostly waits, for one round trip to the peer: 64 fill half a
	// core at a round trip of 50 ms, and hold 3 MB.
	Parallel int

	// Queue is how many sessions may wait for their turn; 0 is 1024. The hello
	// of one more is dropped: its peer says it again.
	Queue int

	// SourcePercent is how much of Parallel and of Queue one source address may
	// have (of IPv6, one network of 64 bits), in percent; 0 is 50.
	SourcePercent int

	// Timeout is how long a handshake may take, its time in the queue not
	// counted; 0 is 10 s.
	Timeout time.Duration

	// Send sends a datagram towards the peer. It may be lost.
	Send func(msg.SessionID, pkt.Path, []byte)

	// Done reports the keys of a session whose peer has proved that it owns
	// the certificate of its description, the path of its last flight, and
	// ours, which is for the caller to send: with it the peer has its keys too
	// and may send media at once, so ours have to be in place. Where the peer
	// had the last word, flight is nil, and its media may have come before.
	Done func(id msg.SessionID, path pkt.Path, keys msg.Keys, flight []byte)

	// Failed reports that a session will get no keys; it is forgotten.
	Failed func(msg.SessionID, error)
}

// Stats are a Keyer's figures. The first four are what is now, the others count
// from the start.
type Stats struct {
	Running   int // handshakes under way
	Queued    int // sessions that wait for their turn
	Keyed     int // sessions that have keys
	KeptBytes int // recorded datagrams of the keyed sessions, in bytes

	Started  uint64 // handshakes
	Done     uint64 // handshakes that gave keys
	Failed   uint64 // handshakes that failed
	Replayed uint64 // last flights sent again

	DroppedStray uint64 // datagrams: malformed, of no session, or before any ClientHello
	DroppedBusy  uint64 // datagrams for which the queue, or the session's share of it, had no room
	DroppedShare uint64 // hellos of a source that has used up its share of the queue
	DroppedKeyed uint64 // datagrams of keyed sessions that asked for nothing
}

// Keyer runs the handshakes of all sessions. It is safe for concurrent use.
type Keyer struct {
	cfg         Config
	options     []dtls.Option
	fingerprint string

	mu      sync.Mutex
	pending map[msg.SessionID]*session
	keyed   map[msg.SessionID]*kept
	turns   *turns
	stats   Stats // Running, Queued and Keyed are filled in by Stats
}

// Role is our part in a handshake.
type Role uint8

// The roles, by the words of a=setup (RFC 4145 section 4).
const (
	Passive Role = iota // DTLS server: the peer begins
	Active              // DTLS client: we begin, once there is a path to the peer
)

// session is one that has no keys yet.
type session struct {
	id      msg.SessionID
	role    Role
	peer    []Fingerprint
	conn    *packetConn // nil until the first ClientHello comes, or may be sent
	source  source      // of the first path
	running bool
}

var errClosed = errors.New("the session was closed")

// New returns a Keyer. It runs nothing until datagrams come, and needs no
// closing beyond that of its sessions.
func New(cfg Config) (*Keyer, error) {
	if cfg.Send == nil || cfg.Done == nil || cfg.Failed == nil {
		return nil, errors.New("keying: Config needs Send, Done and Failed")
	}
	if cfg.Parallel < 0 || cfg.Queue < 0 || cfg.Timeout < 0 {
		return nil, fmt.Errorf("keying: Parallel %d, Queue %d and Timeout %v must not be negative; 0 takes the default",
			cfg.Parallel, cfg.Queue, cfg.Timeout)
	}
	if cfg.SourcePercent < 0 || cfg.SourcePercent > 100 {
		return nil, fmt.Errorf("keying: SourcePercent %d must be 1 to 100; 0 takes the default", cfg.SourcePercent)
	}
	cfg.Parallel = cmp.Or(cfg.Parallel, 64*runtime.NumCPU())
	cfg.Queue = cmp.Or(cfg.Queue, 1024)
	cfg.SourcePercent = cmp.Or(cfg.SourcePercent, 50)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	fingerprint, err := fingerprintOf(cfg.Certificate)
	if err != nil {
		return nil, err
	}
	return &Keyer{
		cfg:         cfg,
		options:     commonOptions(),
		fingerprint: fingerprint,
		pending:     map[msg.SessionID]*session{},
		keyed:       map[msg.SessionID]*kept{},
		turns:       newTurns(room{cfg.Parallel, cfg.Queue}, cfg.SourcePercent),
	}, nil
}

// Fingerprint returns our certificate's hash as the value of an SDP fingerprint
// attribute, "sha-256 AA:BB:…" (RFC 8122 section 5).
func (k *Keyer) Fingerprint() string { return k.fingerprint }

// Expect makes a session known with our role in it and the fingerprints of its
// peer's description, which must happen before its first datagram can come. A
// second call for the same session changes nothing.
func (k *Keyer) Expect(id msg.SessionID, role Role, peer []Fingerprint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pending[id] != nil || k.keyed[id] != nil {
		return
	}
	k.pending[id] = &session{id: id, role: role, peer: slices.Clone(peer)}
}

// Rename gives a session another id. Its handshake must not have begun.
func (k *Keyer) Rename(from, to msg.SessionID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.pending[from]; s != nil {
		delete(k.pending, from)
		s.id = to
		k.pending[to] = s
	}
}

// Reached says that there is a path to a session's peer. Where our role is
// Active the handshake begins, or waits for its turn; any other call does nothing.
func (k *Keyer) Reached(id msg.SessionID, path pkt.Path) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.pending[id]; s != nil && s.role == Active && s.conn == nil {
		k.admit(s, path)
	}
}

// Punt takes a DTLS datagram of a session, and keeps its own copy. Whatever is
// sent to the peer from then on goes to path. It does not block for longer than
// Send does.
func (k *Keyer) Punt(id msg.SessionID, path pkt.Path, datagram []byte) {
	if reply := k.take(id, path, datagram); reply != nil {
		k.cfg.Send(id, path, reply)
	}
}

// take gives a datagram to the session's handshake. It returns what to answer
// for a session that has none any more.
func (k *Keyer) take(id msg.SessionID, path pkt.Path, datagram []byte) (reply []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kept := k.keyed[id]; kept != nil {
		return k.takeKeyed(kept, path, datagram)
	}
	s := k.pending[id]
	switch {
	case s == nil || !readable(datagram):
		k.stats.DroppedStray++
	case s.running:
		s.conn.pushRunning(path, datagram)
	case s.conn != nil:
		if !s.conn.pushQueued(path, datagram) {
			k.stats.DroppedBusy++
		}
	case s.role == Active || !isClientHello(datagram):
		k.stats.DroppedStray++
	case k.admit(s, path):
		s.conn.pushQueued(path, datagram)
	}
	return nil
}

// takeKeyed handles a datagram that comes after the handshake. Nothing in it is
// ever believed: there is no key left here to check it with. So an alert,
// encrypted or not, ends nothing (the peer's leaving shows in its consent
// running out, RFC 7675), plaintext application data goes nowhere, and a new
// ClientHello starts nothing; all a datagram can get is the last flight, which
// the peer has already or is owed (RFC 6347 section 4.2.4).
func (k *Keyer) takeKeyed(kept *kept, path pkt.Path, datagram []byte) (reply []byte) {
	kept.path = path
	if kept.flight == nil || !repeatsLastFlight(datagram) || !kept.mayReplay(time.Now()) {
		k.stats.DroppedKeyed++
		return nil
	}
	k.stats.Replayed++
	return kept.flight
}

// admit starts a session's handshake, or puts it into the queue; false when
// there is no place for it.
func (k *Keyer) admit(s *session, path pkt.Path) bool {
	s.source = sourceOf(&path)
	place := k.turns.enter(s)
	switch place {
	case full:
		k.stats.DroppedBusy++
		return false
	case fullOfIt:
		k.stats.DroppedShare++
		return false
	}
	s.conn = newPacketConn(s.role, path, func(p pkt.Path, b []byte) { k.cfg.Send(s.id, p, b) })
	if place == runs {
		k.start(s)
		go k.work(s)
	}
	return true
}

func (k *Keyer) start(s *session) {
	s.running = true
	k.stats.Started++
}

// work runs handshakes one after the other until nobody's turn has come.
func (k *Keyer) work(s *session) {
	for s != nil {
		k.run(s)
		s = k.next(s)
	}
}

// next returns the session whose turn it is after another, or nil, when the
// worker has to end.
func (k *Keyer) next(after *session) *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.turns.leave(after)
	if s != nil {
		k.start(s)
	}
	return s
}

// run carries one handshake through and reports how it ended.
func (k *Keyer) run(s *session) {
	keys, kept, err := k.handshake(s)
	var path pkt.Path
	var flight []byte
	if kept != nil {
		path, flight = kept.path, kept.flight // read now: once it is filed, it is not ours alone
	}
	switch wanted := k.settle(s, kept, err); {
	case !wanted:
	case err != nil:
		k.cfg.Failed(s.id, fmt.Errorf("DTLS: %w", err))
	default:
		k.cfg.Done(s.id, path, keys, flight)
	}
}

// settle files the outcome of a handshake. It reports whether anyone still
// wants it: the session may have been closed meanwhile.
func (k *Keyer) settle(s *session, kept *kept, err error) (wanted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pending[s.id] != s {
		return false
	}
	delete(k.pending, s.id)
	if err != nil {
		k.stats.Failed++
		return true
	}
	k.stats.Done++
	k.stats.KeptBytes += kept.bytes()
	k.keyed[s.id] = kept
	return true
}

// Close forgets a session; a keyed one is sent close_notify (RFC 5246 section
// 7.2.1). Nobody answers that, so nobody would send it again if it is lost: it is
// sent several times, of which a peer takes one (RFC 6347 section 4.1.2.6). No
// callback for the session begins afterwards, but one may still be running.
func (k *Keyer) Close(id msg.SessionID) {
	kept := k.forget(id)
	if kept == nil {
		return
	}
	for range notices {
		k.cfg.Send(id, kept.path, kept.notify)
	}
}

// notices is how often close_notify is sent.
const notices = 3

func (k *Keyer) forget(id msg.SessionID) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kept := k.keyed[id]; kept != nil {
		delete(k.keyed, id)
		k.stats.KeptBytes -= kept.bytes()
		return kept
	}
	s := k.pending[id]
	if s == nil {
		return nil
	}
	delete(k.pending, id)
	k.turns.withdraw(s)
	if s.conn != nil {
		s.conn.fail(errClosed)
	}
	return nil
}

// Stats returns the figures as they are now.
func (k *Keyer) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	stats := k.stats
	stats.Running, stats.Queued = k.turns.taken.running, k.turns.taken.waiting
	stats.Keyed = len(k.keyed)
	return stats
}
