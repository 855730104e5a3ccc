package controlplane

import (
	"crypto/rand"

	"sluice/controlplane/sdp"
	"sluice/dataplane"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
)

// Trickle takes a fragment from the peer of a session (RFC 9725 section 4.3):
// candidates, of which a lite agent needs none, or an ICE restart, for which it
// returns our side. DTLS, SRTP and media go on as they are.
//
// permit is asked before anything changes, with the session's entity tag; what it
// returns is returned. Other errors: ErrNoSession, ErrUnanswered, ErrAddress, *sdp.Error.
func (s *Service) Trickle(token string, fragment []byte, permit func(etag string, restart bool) error) (*Session, error) {
	parsed, err := sdp.ParseFragment(fragment)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.byToken[token]
	if !ok {
		return nil, ErrNoSession
	}
	p := s.peers[id]
	if p.offered != nil {
		return nil, ErrUnanswered
	}
	restart := parsed.Ufrag != "" && *parsed != p.remote
	if err := permit(p.etag(), restart); err != nil || !restart {
		return nil, err
	}
	return s.restart(id, p, parsed)
}

// restart gives a session new credentials of ours, for new ones of its peer.
func (s *Service) restart(id msg.SessionID, p *peer, remote *sdp.Fragment) (*Session, error) {
	addrs, err := s.addresses()
	if err != nil {
		return nil, err
	}
	ufrag, pwd := newCredentials(id)
	p.ufrag, p.remote, p.begun = ufrag, *remote, nil
	s.plane.Send(id.Shard(), msg.RestartICE{ID: id, Ufrag: ufrag, Pwd: pwd})
	s.restarts++
	s.log.Info("ICE restart", "session", id)
	return &Session{
		Token: p.token, ETag: p.etag(),
		Answer: p.tagged.Fragment(sdp.Local{Ufrag: ufrag, Pwd: pwd, Candidates: sdp.HostCandidates(addrs, dataplane.ICETCP.Get(s.tree))}),
	}, nil
}

// newCredentials returns our half of a session's ICE credentials.
func newCredentials(id msg.SessionID) (ufrag, pwd string) {
	var random [ice.RandomLen]byte
	rand.Read(random[:])
	return ice.NewUfrag(id.Shard(), &random)
}

// etag is the session's entity tag, with its quotes: it names the ICE session
// (RFC 9725 section 4.3.1).
func (p *peer) etag() string { return `"` + p.ufrag + `"` }
