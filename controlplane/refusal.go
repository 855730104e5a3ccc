package controlplane

import (
	"errors"
	"net/netip"
	"runtime/debug"
	"runtime/metrics"

	"sluice/controlplane/registry"
	"sluice/controlplane/sdp"
	"sluice/netopt/attr"
)

// Refusal is why the service takes no session now, whoever asks.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// The refusals.
const (
	ErrDraining Refusal = "the server is shutting down; connect to another one, or again in a minute"
	ErrViewers  Refusal = "the stream has as many viewers as it may have (attribute streams/<name>/viewers_max); try again later"
	ErrMemory   Refusal = "the memory limit is reached (attribute limits/memory_bytes); try again later"
	ErrAddress  Refusal = "the server has no address to announce now (attributes ice/announce, ice/interfaces_allow; its log says why); try again later"
)

// ErrNoSession says that there is no session by that token, any more or ever.
const ErrNoSession Refusal = "there is no such session"

// What a session is not in the state for.
const (
	ErrNotOffered Refusal = "the session waits for no answer"
	ErrUnanswered Refusal = "the session waits for the answer to the server's offer; send that first, with Content-Type: application/sdp"
)

// ErrEventStreams says that a viewer can have no event feed.
const ErrEventStreams Refusal = "the limit of event feeds is reached (attribute limits/event_streams); try again later"

// admit returns where peers of a new session reach the data plane, or why the
// service takes no sessions at all.
func (s *Service) admit() ([]netip.AddrPort, error) {
	switch limit := memoryAttr.Get(s.tree); {
	case s.draining:
		return nil, ErrDraining
	case limit > 0 && memoryInUse() > uint64(limit):
		return nil, ErrMemory
	}
	return s.addresses()
}

// limitMemory makes the runtime collect harder as the limit comes near; a tenth
// of it stays for what the runtime does not count, the kernel's buffers.
func limitMemory(tree *attr.Tree) {
	if limit := memoryAttr.Get(tree); limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}

// memoryInUse returns what the runtime has from the system and did not give back.
func memoryInUse() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// refuse counts a refusal, and returns it.
func (s *Service) refuse(err error) error {
	reason := "offer"
	var mismatch *sdp.Mismatch
	switch {
	case errors.As(err, &mismatch):
		reason = "mismatch"
	case err == registry.ErrPublished:
		reason = "published"
	case err == registry.ErrNotLive:
		reason = "not_live"
	case err == ErrViewers:
		reason = "viewers"
	case err == registry.ErrFull:
		reason = "sessions"
	case err == registry.ErrStreams:
		reason = "streams"
	case err == registry.ErrPending:
		reason = "pending"
	case err == ErrMemory:
		reason = "memory"
	case err == ErrDraining:
		reason = "draining"
	case err == ErrAddress:
		reason = "address"
	}
	for i := range refusals {
		if refusals[i] == reason {
			s.refused[i].Add(1)
		}
	}
	return err
}
