package controlplane

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sluice/controlplane/auth"
	"sluice/netopt/attr"
)

// gate keeps the rules of who may do what up to date.
type gate struct {
	rules atomic.Pointer[auth.Rules]

	mu   sync.Mutex  // of what follows; held while files are read
	keys []auth.Key  // of the file
	path string      // of the file
	file os.FileInfo // of the file as it was read, nil for not yet
	told string      // what is wrong with the file, as far as the log knows

	counting sync.Mutex
	counts   auth.Counts
}

// followRules makes rules, and makes them anew when what they are made of changes.
func (s *Service) followRules() {
	stop := auth.Follow(s.tree, s.renewRules)
	stopObjects := FixedStreams.Watch(s.tree, func(string, bool) { s.renewRules() })
	s.unfollow = func() { stop(); stopObjects() }
	s.renewRules()
}

// renewRules makes the rules, and ends the sessions that they would not admit.
func (s *Service) renewRules() {
	g := &s.gate
	g.mu.Lock()
	s.readKeys()
	g.rules.Store(auth.FromTree(s.tree, FixedStreams.Objects(s.tree), g.keys))
	g.mu.Unlock()
	s.review()
}

// lookAtKeys makes the rules anew if the file of keys is not the one that was read.
func (s *Service) lookAtKeys() {
	g := &s.gate
	g.mu.Lock()
	changed := s.readKeys()
	g.mu.Unlock()
	if changed {
		s.renewRules()
	}
}

// readKeys brings the keys of the file up to date, under gate.mu, and reports
// whether they changed. One that cannot be used may be half written: it is tried
// again, and the last good keys of that path stay.
func (s *Service) readKeys() (changed bool) {
	g := &s.gate
	path := auth.KeyFile(s.tree)
	if path != g.path {
		g.path, g.keys, g.file, g.told, changed = path, nil, nil, "", true
	}
	if path == "" {
		return changed
	}
	file, keys, err := readKeyFile(path, g.file)
	if err != nil {
		if text := err.Error(); text != g.told {
			g.told = text
			s.log.Error("the file of keys cannot be used; the last good keys of it stay, if there are any", "event", "keys_unusable", "attribute", "auth/jwks_file", "error", err)
		}
		return changed
	}
	g.told = ""
	if file == nil {
		return changed
	}
	g.file, g.keys = file, keys
	s.log.Info("keys read", "file", path, "keys", len(keys))
	return true
}

// readKeyFile reads a file of keys that is not the one seen; file is nil if it is.
func readKeyFile(path string, seen os.FileInfo) (file os.FileInfo, keys []auth.Key, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular() || info.Size() > auth.MaxKeyFile:
		return nil, nil, fmt.Errorf("%s is no file of at most %d bytes", path, auth.MaxKeyFile)
	case seen != nil && os.SameFile(seen, info) && seen.ModTime().Equal(info.ModTime()) && seen.Size() == info.Size():
		return nil, nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, auth.MaxKeyFile))
	if err != nil {
		return nil, nil, err
	}
	if keys, err = auth.ParseKeys(text); err != nil {
		return nil, nil, fmt.Errorf("%s %w", path, err)
	}
	return info, keys, nil
}

// Open reports whether anyone may publish and watch without a token.
func (s *Service) Open() bool { return s.gate.rules.Load().Open() }

// Authorize says whether a request may do something with a stream, going by its
// Authorization fields. The error is an *auth.Refusal. A session that is made
// with the grant is to be guarded by it.
func (s *Service) Authorize(authorization []string, stream string, d auth.Direction) (auth.Grant, error) {
	grant, refusal := s.gate.rules.Load().Decide(authorization, stream, d, time.Now())
	if refusal == nil {
		return grant, nil
	}
	s.gate.counting.Lock()
	defer s.gate.counting.Unlock()
	s.gate.counts.Refused[refusal.Reason]++
	return auth.Grant{}, refusal
}

// ErrRevoked says that what a request was let in by was withdrawn meanwhile.
var ErrRevoked = errors.New(revoked)

const revoked = "what it was let in by was withdrawn (attributes below auth, or tokens of the stream)"

// Guard ends a session when its grant does not hold any more. One whose grant was
// withdrawn since Authorize ends at once, with ErrRevoked.
func (s *Service) Guard(token string, grant auth.Grant) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[s.byToken[token]]
	if p == nil {
		return nil // it has ended already
	}
	p.grant = &grant
	if s.gate.rules.Load().Holds(grant) {
		return nil
	}
	s.revoke(p)
	return ErrRevoked
}

// review ends the sessions whose grants do not hold any more.
func (s *Service) review() {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules := s.gate.rules.Load()
	var over []*peer
	for _, p := range s.peers {
		if p.grant != nil && !rules.Holds(*p.grant) {
			over = append(over, p)
		}
	}
	for _, p := range over {
		s.revoke(p)
	}
}

func (s *Service) revoke(p *peer) {
	s.gate.counting.Lock()
	s.gate.counts.Revoked++
	s.gate.counting.Unlock()
	s.end(p.session.ID, revoked)
}

func (s *Service) collectGate(sample *attr.Sample) {
	s.gate.counting.Lock()
	defer s.gate.counting.Unlock()
	s.gate.counts.Collect(sample)
}
