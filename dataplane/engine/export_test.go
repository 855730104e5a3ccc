package engine

import "fmt"

// Leaks says what indexes still hold once all sessions and routes are gone.
func (e *Engine) Leaks() string {
	linked := 0
	for i := range e.links {
		if e.links[i] != (link{}) {
			linked++
		}
	}
	if len(e.byID)+len(e.byUfrag)+len(e.byRemote)+len(e.routes)+len(e.sources)+len(e.dirty)+linked == 0 {
		return ""
	}
	return fmt.Sprintf("%d ids, %d ufrags, %d remotes, %d routes, %d sources, %d dirty, %d links",
		len(e.byID), len(e.byUfrag), len(e.byRemote), len(e.routes), len(e.sources), len(e.dirty), linked)
}
