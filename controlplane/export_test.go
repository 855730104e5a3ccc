package controlplane

import (
	"net/netip"
	"time"
)

// LoseAddresses makes every further look for addresses to announce fail.
func (s *Service) LoseAddresses(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = func() ([]netip.AddrPort, error) { return nil, err }
}

// ExpireOffers ends the counter-offers that are over at an instant.
func (s *Service) ExpireOffers(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireOffers(now)
}
