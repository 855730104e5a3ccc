package controlplane

import (
	"context"
	"fmt"
	"time"

	"sluice/dataplane/msg"
)

// Grace returns how long a drain may take.
func (s *Service) Grace() time.Duration {
	return time.Duration(graceAttr.Get(s.tree)) * time.Millisecond
}

// vanished is how long a peer is silent that a drain does not wait for. Players send
// checks or reports more often (RFC 7675 section 5.1, RFC 3550 section 6.2).
const vanished = 10 * time.Second

// Drain refuses new sessions from now on and waits until the existing ones have
// ended, but for those whose peers have vanished, or ctx is done.
func (s *Service) Drain(ctx context.Context) {
	s.drain(ctx, func() int { return s.plane.Heard(vanished) })
}

// drain waits while some sessions are heard of.
func (s *Service) drain(ctx context.Context, heard func() int) {
	s.mu.Lock()
	s.draining = true
	left := s.registry.Sessions()
	s.mu.Unlock()
	s.log.Info("draining", "sessions", left)
	const every = 50 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for heard() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Close ends all sessions, telling their peers, and stops the data plane. More
// than one call does no more.
func (s *Service) Close() { s.closed.Do(s.close) }

func (s *Service) close() {
	close(s.stop)
	s.unfollow()
	s.mu.Lock()
	s.draining = true
	var ids []msg.SessionID
	for id := range s.peers {
		ids = append(ids, id)
	}
	for _, id := range ids {
		s.end(id, "the server shut down")
	}
	s.mu.Unlock()
	s.plane.Inspect() // answered behind all commands: what they made is sent
	s.plane.Close()
}

// Health returns what is wrong with the process: shards that do not turn.
func (s *Service) Health() []string {
	var wrong []string
	for i, st := range s.plane.Inspect() {
		if st == nil {
			wrong = append(wrong, fmt.Sprintf("shard %d did not answer within a second", i))
		}
	}
	return wrong
}

// Ready returns why new sessions are refused.
func (s *Service) Ready() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.admit(); err != nil {
		return []string{err.Error()}
	}
	return nil
}
