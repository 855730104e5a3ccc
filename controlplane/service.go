// Package controlplane makes sessions: it reads offers, places sessions in the
// data plane, has them keyed, and ends them. It assembles the rooms below it
// over a dataplane.Plane; HTTP (whip, admin) stands on top.
package controlplane

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/controlplane/auth"
	"sluice/controlplane/keying"
	"sluice/controlplane/registry"
	"sluice/controlplane/sdp"
	"sluice/controlplane/sse"
	"sluice/dataplane"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/netopt/attr"
)

// Service is the control plane. Its methods are safe for concurrent use.
type Service struct {
	tree       *attr.Tree
	log        *slog.Logger
	plane      *dataplane.Plane
	keyer      *keying.Keyer
	candidates func() ([]netip.AddrPort, error)

	mu       sync.Mutex
	registry *registry.Registry
	peers    map[msg.SessionID]*peer
	byToken  map[string]msg.SessionID
	gone     graveyard
	meters   map[msg.RouteID]*meter
	metered  time.Time         // when the meters were read
	judges   map[string]*judge // of streams' latency, by name
	exceeded uint64            // windows that they found against
	work     []work            // by shard, when the meters were read
	busy     int               // shards that have little time left
	draining bool
	started  time.Time
	created  [2]uint64
	restarts uint64
	moves    uint64 // of publishers

	feeds        int // event feeds of viewers
	feedSerial   uint64
	feedsRefused uint64

	gate     gate
	unfollow func() // ends the gate's look at the tree

	refused [len(refusals)]atomic.Uint64
	stop    chan struct{} // closed by Close
	closed  sync.Once
}

// peer is what a session has beyond the registry's view of it.
type peer struct {
	token  string // the secret part of the session's URL, 128 bits
	since  time.Time
	ufrag  string       // ours
	remote sdp.Fragment // the peer's ICE credentials
	tagged sdp.Tagged

	session    *registry.Session
	begun      *msg.AddSession    // of a publisher that may still move, nil for others
	forwarding *msg.ForwardChecks // what ends it where it was before, nil if it did not move
	grant      *auth.Grant        // by which it may be, nil for one that nobody asked for
	offered    *counterOffer      // that waits for its answer, nil for none
	feed       *sse.Feed          // nil for none
	feedName   string
	videoLine  int // the m-section of video in the peer's description, -1 for none
}

// Config of a service. All fields are needed, Steering where steer/mode may be
// switched on.
type Config struct {
	Tree     *attr.Tree // holds Attrs, auth.Attrs, dataplane.Attrs and keying.Attrs
	Log      *slog.Logger
	Listen   netip.AddrPort // the media port
	Steering dataplane.Attacher
	// Candidates returns where peers reach an address and port that we listen on.
	Candidates func(listen netip.AddrPort) ([]netip.AddrPort, error)
}

// Start starts the data plane and what keys its sessions.
func Start(c Config) (*Service, error) {
	certificate, err := keying.NewCertificate()
	if err != nil {
		return nil, err
	}
	s := &Service{
		tree: c.Tree, log: c.Log,
		peers:   map[msg.SessionID]*peer{},
		byToken: map[string]msg.SessionID{},
		meters:  map[msg.RouteID]*meter{},
		stop:    make(chan struct{}),
		started: time.Now(),
	}
	keys := keying.Config{Certificate: certificate, Send: s.sendDTLS, Done: s.keyed, Failed: s.failed}
	keys.Limit(c.Tree)
	if s.keyer, err = keying.New(keys); err != nil {
		return nil, err
	}
	// No event comes before the first session, which needs what follows.
	if s.plane, err = dataplane.Start(c.Listen, c.Tree, s.event); err != nil {
		return nil, err
	}
	s.plane.FollowSteering(c.Tree, c.Steering)
	s.registry = registry.New(s.plane.Shards(), registry.Limits{
		Sessions: int(dataplane.MaxSessions.Get(c.Tree)),
		Streams:  int(dataplane.MaxStreams.Get(c.Tree)),
		Pending:  int(pendingAttr.Get(c.Tree)),
	})
	listen := netip.AddrPortFrom(c.Listen.Addr(), s.plane.Port())
	s.candidates = cached(func() ([]netip.AddrPort, error) { return c.Candidates(listen) })
	if announced, err := s.candidates(); err != nil {
		s.plane.Close()
		return nil, err
	} else {
		s.log.Info("media", "listen", listen, "shards", s.plane.Shards(), "announce", announced)
	}
	limitMemory(c.Tree)
	s.followPlacement()
	s.followTuning()
	s.followRules()
	c.Tree.Collect(s.keyer.Collect)
	c.Tree.Collect(s.collect)
	c.Tree.Collect(s.collectGate)
	go s.measure()
	return s, nil
}

// cached keeps an answer for a while: interfaces change seldom, offers come often.
func cached(f func() ([]netip.AddrPort, error)) func() ([]netip.AddrPort, error) {
	const life = 5 * time.Second
	var mu sync.Mutex
	var at time.Time
	var last []netip.AddrPort
	return func() ([]netip.AddrPort, error) {
		mu.Lock()
		defer mu.Unlock()
		if last != nil && time.Since(at) < life {
			return last, nil
		}
		addrs, err := f()
		if err == nil {
			last, at = addrs, time.Now()
		}
		return addrs, err
	}
}

// addresses returns where peers reach the data plane. Without any, the log says why
// and the error, ErrAddress, does not: the names of interfaces are not for peers.
func (s *Service) addresses() ([]netip.AddrPort, error) {
	addrs, err := s.candidates()
	if err != nil {
		s.log.Error("no address to announce", "error", err)
		return nil, ErrAddress
	}
	return addrs, nil
}

// Session is a session as its creator gets it.
type Session struct {
	Token  string // names the session in its URL, and must stay secret
	ETag   string // of its ICE credentials, a strong entity tag with its quotes
	Answer []byte // SDP, or a fragment of it where ICE restarts
	// AnswerBy is not zero where Answer is an offer: when the peer's answer must be there.
	AnswerBy time.Time
}

// Publish makes a session for a publisher. Errors: *sdp.Error for an offer that
// cannot be used, registry.Refusal or Refusal otherwise.
func (s *Service) Publish(stream string, source netip.Addr, offer []byte) (*Session, error) {
	parsed, err := sdp.Parse(offer)
	if err != nil {
		return nil, s.refuse(err)
	}
	selection, err := parsed.Publish()
	if err != nil {
		return nil, s.refuse(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs, err := s.admit()
	if err != nil {
		return nil, s.refuse(err)
	}
	var tracks []sdp.Track
	for _, m := range selection.Media {
		if m.Accepted {
			tracks = append(tracks, sdp.Track{Kind: m.Kind, Format: m.Format})
		}
	}
	s.makeWay(stream)
	session, lost, err := s.registry.Publish(stream, tracks, source)
	if err != nil {
		return nil, s.refuse(err)
	}
	for _, viewer := range lost {
		s.bury(viewer.ID, "the publisher came back with another codec: connect again")
	}
	return s.create(session, selection, addrs), nil
}

// Subscribe makes a session for a viewer. One whose offer does not fit gets an
// offer of ours, which Answer completes. Errors: *sdp.Error, *sdp.Mismatch where
// there is nothing to offer, registry.Refusal or Refusal.
func (s *Service) Subscribe(stream string, source netip.Addr, offer []byte) (*Session, error) {
	parsed, err := sdp.Parse(offer)
	if err != nil {
		return nil, s.refuse(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs, err := s.admit()
	if err != nil {
		return nil, s.refuse(err)
	}
	watched := s.registry.Stream(stream)
	if watched == nil || !watched.Live() {
		return nil, s.refuse(registry.ErrNotLive)
	}
	if most := viewersMaxAttr.Of(s.tree, stream); most > 0 && int64(len(watched.Viewers)) >= most {
		return nil, s.refuse(ErrViewers)
	}
	var tracks []sdp.Track
	for _, t := range watched.Carried() {
		tracks = append(tracks, t.Track)
	}
	selection, err := parsed.Subscribe(tracks)
	if mismatch := mismatched(err); mismatch != nil {
		return s.offer(stream, source, tracks, mismatch, addrs)
	}
	if err != nil {
		return nil, s.refuse(err)
	}
	session, err := s.registry.Subscribe(stream, source)
	if err != nil {
		return nil, s.refuse(err)
	}
	return s.create(session, selection, addrs), nil
}

// create begins a placed session, and writes the answer.
func (s *Service) create(session *registry.Session, selection *sdp.Selection, addrs []netip.AddrPort) *Session {
	p, local := s.enter(session, selection, addrs)
	s.begin(p, selection, local.Pwd)
	return &Session{Token: p.token, ETag: p.etag(), Answer: selection.Answer(local)}
}

// enter gives a placed session its token and credentials, and settles what is ours
// in its description.
func (s *Service) enter(session *registry.Session, selection *sdp.Selection, addrs []netip.AddrPort) (*peer, sdp.Local) {
	ufrag, pwd := newCredentials(session.ID)
	p := &peer{
		token: newToken(), since: time.Now(), ufrag: ufrag, session: session, videoLine: -1,
		remote: sdp.Fragment{Ufrag: selection.Ufrag, Pwd: selection.Pwd}, tagged: selection.Tagged(),
	}
	for i := range selection.Media {
		m := &selection.Media[i]
		if m.Accepted && session.Sends {
			settle(m, session.Stream)
		}
		if m.Accepted && m.Kind == msg.Video {
			p.videoLine = i
		}
	}
	s.peers[session.ID] = p
	s.byToken[p.token] = session.ID
	return p, sdp.Local{
		Ufrag: ufrag, Pwd: pwd,
		Fingerprint: strings.TrimPrefix(s.keyer.Fingerprint(), "sha-256 "),
		Candidates:  sdp.HostCandidates(addrs, dataplane.ICETCP.Get(s.tree)),
		SessionID:   uint64(session.ID),
	}
}

// begin tells keyer and data plane about a session whose description is complete.
func (s *Service) begin(p *peer, selection *sdp.Selection, pwd string) {
	session := p.session
	add := msg.AddSession{ID: session.ID, Ufrag: p.ufrag, Pwd: pwd}
	for i := range selection.Media {
		m := &selection.Media[i]
		switch {
		case !m.Accepted:
		case session.Sends:
			add.Send = append(add.Send, sends(m, session.Stream))
		default:
			add.Receive = append(add.Receive, receives(m, session.Stream))
		}
	}
	s.keyer.Expect(session.ID, keyingRole(selection), fingerprints(selection))
	s.send()
	s.beginTuning(session.Stream)
	s.plane.Send(session.ID.Shard(), add)
	if !session.Sends {
		p.begun = &add
	}
	s.created[role(session)]++
	s.log.Info("session created", "session", session.ID, "stream", session.Stream.Name, "role", createdRoles[role(session)])
	s.tell(session.Stream)
}

// settle says what is ours in an m-section in which we send.
func settle(m *sdp.Media, stream *registry.Stream) {
	m.SSRC, m.CNAME, m.MSID = newSSRC(), msg.CNAME, stream.Name
	if m.RTXPT != 0 {
		m.RTXSSRC = newSSRC()
	}
}

// sends describes an m-section in which we send.
func sends(m *sdp.Media, stream *registry.Stream) msg.Send {
	return msg.Send{
		Route: stream.Track(m.Kind).Route, Kind: m.Kind, ClockRate: m.Format.ClockRate, MID: m.MID,
		PT: m.PT, RTXPT: m.RTXPT, SSRC: m.SSRC, RTXSSRC: m.RTXSSRC,
		ExtIDs: m.ExtIDs, ExtMixed: m.ExtMixed, Feedback: m.Feedback,
	}
}

// receives describes an m-section in which the peer sends.
func receives(m *sdp.Media, stream *registry.Stream) msg.Receive {
	return msg.Receive{
		Route: stream.Track(m.Kind).Route, Kind: m.Kind, Codec: m.Format.Codec, ClockRate: m.Format.ClockRate, MID: m.MID,
		PT: m.PT, RTXPT: m.RTXPT, SSRC: m.SSRC, RTXSSRC: m.RTXSSRC,
		ExtIDs: m.ExtIDs, Feedback: m.Feedback,
	}
}

func keyingRole(selection *sdp.Selection) keying.Role {
	if selection.Active {
		return keying.Active
	}
	return keying.Passive
}

func fingerprints(selection *sdp.Selection) []keying.Fingerprint {
	var all []keying.Fingerprint
	for _, f := range selection.Fingerprints {
		all = append(all, keying.Fingerprint(f))
	}
	return all
}

// newSSRC returns a random SSRC other than 0, which means unknown (RFC 3550
// section 8: a collision within a session of two streams is not worth a check).
func newSSRC() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.NativeEndian.Uint32(b[:]) | 1
}

func newToken() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Delete ends a session by its token; false when there is none.
func (s *Service) Delete(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.byToken[token]
	if ok {
		s.end(id, "it was deleted")
	}
	return ok
}

// Lookup says whether a session exists; if it does not, why it ended, as far as
// that is remembered.
func (s *Service) Lookup(token string) (exists bool, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byToken[token]; ok {
		return true, ""
	}
	return false, s.gone.why(token)
}

// makeWay ends a stream's publisher if it has been silent for long. Only silence
// up to the last reading of the meters counts: what came since is not known yet.
func (s *Service) makeWay(stream string) {
	old := s.registry.Stream(stream)
	if old == nil || old.Publisher == nil {
		return
	}
	last := s.peers[old.Publisher.ID].since
	for _, t := range old.Tracks {
		if m := s.meters[t.Route]; m != nil && m.grown.After(last) {
			last = m.grown
		}
	}
	if silent := max(s.metered.Sub(last), 0); silent >= time.Duration(takeoverAttr.Get(s.tree))*time.Millisecond {
		s.end(old.Publisher.ID, "it was silent, and another publisher came")
	}
}

// end ends a session: the peer is told by close_notify, and everything of it is
// freed. Ending one that is gone does nothing.
func (s *Service) end(id msg.SessionID, why string) {
	s.bury(id, why)
	session := s.registry.Session(id)
	s.registry.Remove(id)
	s.send()
	if session != nil {
		s.tell(session.Stream)
	}
}

// bury does the part of end that is not the registry's. close_notify must reach
// the shard before the command that removes the session.
func (s *Service) bury(id msg.SessionID, why string) {
	s.keyer.Close(id)
	p := s.peers[id]
	if p == nil {
		return
	}
	delete(s.peers, id)
	delete(s.byToken, p.token)
	s.unlisten(p)
	if p.forwarding != nil {
		s.plane.Send(p.forwarding.Shard, *p.forwarding)
	}
	s.gone.add(p.token, why)
	s.log.Info("session ended", "session", id, "why", why, "after", time.Since(p.since).Round(time.Millisecond))
}

// send carries out what the registry ordered.
func (s *Service) send() {
	for _, o := range s.registry.Orders() {
		s.plane.Send(o.Shard, o.Command)
	}
}

// event takes what the data plane reports.
func (s *Service) event(ev msg.Event) {
	switch ev := ev.(type) {
	case msg.Landed:
		s.landed(ev)
	case msg.Punt:
		s.keyer.Punt(ev.ID, ev.Path, ev.Data)
	case msg.PairSelected:
		s.keyer.Reached(ev.ID, ev.Path)
		s.log.Debug("pair selected", "session", ev.ID, "remote", ev.Path.Remote.String())
	case msg.SegmentationLost:
		s.log.Warn("the kernel stopped taking packets as trains; each is sent alone, which costs CPU. Write 0 and 1 to dataplane/gso to try again", "event", "segmentation_lost", "shard", ev.Shard)
	case msg.SessionClosed:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end(ev.ID, ev.Reason.String())
	}
}

func (s *Service) sendDTLS(id msg.SessionID, path pkt.Path, datagram []byte) {
	s.plane.Send(id.Shard(), msg.SendDatagram{ID: id, Path: path, Data: datagram})
}

func (s *Service) keyed(id msg.SessionID, path pkt.Path, keys msg.Keys, flight []byte) {
	s.plane.Send(id.Shard(), msg.InstallKeys{ID: id, Path: path, Keys: keys, Flight: flight})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registry.Keyed(id)
	if p := s.peers[id]; p != nil {
		p.begun = nil
	}
}

func (s *Service) failed(id msg.SessionID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(id, err.Error())
}
