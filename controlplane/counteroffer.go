package controlplane

import (
	"errors"
	"net/netip"
	"time"

	"sluice/controlplane/sdp"
	"sluice/dataplane/msg"
)

// counterOfferLife is how long a counter-offer waits for its answer, the default
// of draft-ietf-wish-whep.
const counterOfferLife = 30 * time.Second

// counterOffer is what a viewer was offered in place of what it asked for.
type counterOffer struct {
	selection *sdp.Selection
	pwd       string // ours
	until     time.Time
}

// offer makes a session of our own offer of a stream, for a viewer whose offer did
// not fit. It has its place, and begins with the answer.
func (s *Service) offer(stream string, source netip.Addr, tracks []sdp.Track, why *sdp.Mismatch, addrs []netip.AddrPort) (*Session, error) {
	s.refuse(why)
	selection, err := sdp.CounterOffer(tracks)
	if err != nil {
		return nil, why
	}
	session, err := s.registry.Subscribe(stream, source)
	if err != nil {
		return nil, s.refuse(err)
	}
	p, local := s.enter(session, selection, addrs)
	s.send()
	p.offered = &counterOffer{selection, local.Pwd, time.Now().Add(counterOfferLife)}
	return &Session{
		Token: p.token, ETag: p.etag(), AnswerBy: p.offered.until,
		Answer: selection.Offer(local, why.Error()),
	}, nil
}

// Answer takes the answer to a counter-offer, with which the session begins.
// Errors: ErrNoSession, ErrNotOffered, *sdp.Error, after which another answer may
// come.
func (s *Service) Answer(token string, answer []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.byToken[token]
	if !ok {
		return ErrNoSession
	}
	p := s.peers[id]
	if p.offered == nil {
		return ErrNotOffered
	}
	selection, err := p.offered.selection.Answered(answer)
	if err != nil {
		return s.refuse(err)
	}
	pwd := p.offered.pwd
	p.offered, p.remote = nil, sdp.Fragment{Ufrag: selection.Ufrag, Pwd: selection.Pwd}
	s.begin(p, selection, pwd)
	return nil
}

// expireOffers ends the sessions whose counter-offers were not answered.
func (s *Service) expireOffers(now time.Time) {
	var over []msg.SessionID
	for id, p := range s.peers {
		if p.offered != nil && now.After(p.offered.until) {
			over = append(over, id)
		}
	}
	for _, id := range over {
		s.end(id, "the counter-offer was not answered in time")
	}
}

// mismatched returns the Mismatch that an error is, nil for none.
func mismatched(err error) *sdp.Mismatch {
	var mismatch *sdp.Mismatch
	errors.As(err, &mismatch)
	return mismatch
}
