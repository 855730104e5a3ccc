package controlplane

import "time"

// ExpireOffers ends the counter-offers that are over at an instant.
func (s *Service) ExpireOffers(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireOffers(now)
}
