package engine

import (
	"fmt"

	"sluice/dataplane/msg"
)

// Remotes returns how many remote addresses are known, of this shard's and of
// others' sessions.
func (e *Engine) Remotes() int { return len(e.byRemote) + len(e.foreign) }

// Paced returns how many viewers are waited for that are behind.
func (e *Engine) Paced() int { return len(e.paced) }

// Rollover returns the highest SRTP index of each stream that a session sends.
func (e *Engine) Rollover(id msg.SessionID) (highest []uint64) {
	s := e.sessions.Get(e.byID[id])
	for i := range s.nIn {
		highest = append(highest, e.ingresses.Get(s.ingress[i]).stream.Highest())
	}
	return highest
}

// Leaks says what indexes still hold once all sessions and routes are gone.
func (e *Engine) Leaks() string {
	linked := 0
	for i := range e.links {
		if e.links[i] != (link{}) {
			linked++
		}
	}
	if len(e.byID)+len(e.byUfrag)+len(e.byRemote)+len(e.routes)+len(e.sources)+len(e.dirty[0].routes)+len(e.dirty[1].routes)+len(e.held)+len(e.early.of)+e.early.held+len(e.forward)+linked == 0 {
		return ""
	}
	return fmt.Sprintf("%d ids, %d ufrags, %d remotes, %d routes, %d sources, %d dirty, %d held, %d (%d) early, %d forwarded, %d links",
		len(e.byID), len(e.byUfrag), len(e.byRemote), len(e.routes), len(e.sources), len(e.dirty[0].routes)+len(e.dirty[1].routes), len(e.held), len(e.early.of), e.early.held, len(e.forward), linked)
}
