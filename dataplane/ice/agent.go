// Package ice is the answering half of ICE: a lite agent (RFC 8445 section
// 2.5), always controlled. It checks connectivity checks, remembers which
// addresses passed one, and decides where media goes.
package ice

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

// ConsentTimeout is how long an authenticated check lets us send to an address
// (RFC 7675 section 5.1), and an authentic packet to the selected one: some peers
// stop checking once they are connected (libnice).
const ConsentTimeout = 30 * time.Second

// HoldTimeout is how long after its consent a peer's address is its own, whoever else
// sends checks from there: two or three checks of a browser may be lost.
const HoldTimeout = ConsentTimeout / 2

// maxPaths bounds what a peer can make us remember: a host with two networks
// and both IP versions has four, and four by TCP.
const maxPaths = 8

// Agent is a session's view of its peer's addresses. It is flat: no pointers,
// and the zero value is ready. Not safe for concurrent use.
type Agent struct {
	paths    [maxPaths]checkedPath
	count    uint8
	selected uint8 // valid iff count > 0
}

type checkedPath struct {
	path      pkt.Path
	consented clock.Time // last authenticated check, or authentic packet while selected
}

// Checked records an authenticated check that came over path. The first one
// selects its path; later ones only make a path known, since a check can be
// replayed from elsewhere by who overhears it. When all places are taken the
// path whose consent is oldest, other than the selected one, is forgotten;
// its remote address is returned if no other path has it.
func (a *Agent) Checked(now clock.Time, path *pkt.Path) (forgotten pkt.Addr, gone bool) {
	if i, ok := a.find(path); ok {
		a.paths[i].consented = now
		return pkt.Addr{}, false
	}
	if a.count < maxPaths {
		a.paths[a.count] = checkedPath{*path, now}
		a.count++
		return pkt.Addr{}, false
	}
	place := &a.paths[a.oldest()]
	forgotten = place.path.Remote
	*place = checkedPath{*path, now}
	return forgotten, !a.reaches(forgotten)
}

// Authentic records that a packet which proves possession of the session's
// keys, and is no replay, came over path. On the selected path that is consent; to
// another one media moves if that has passed a check within ConsentTimeout (RFC
// 8445 section 8.1.1 leaves the lite agent to follow its peer). It reports whether
// media moved.
//
//hot:path
func (a *Agent) Authentic(now clock.Time, path *pkt.Path) (moved bool) {
	if selected := &a.paths[a.selected]; a.count > 0 && selected.path == *path {
		selected.consented = now
		return false
	}
	i, ok := a.find(path)
	if !ok || now.Sub(a.paths[i].consented) >= ConsentTimeout {
		return false
	}
	a.selected = uint8(i)
	return true
}

// Nominated moves media to a path that has just passed the first nominating check
// of an ICE restart: made with credentials that nobody used before, it is no
// replay. It reports whether media moved.
func (a *Agent) Nominated(path *pkt.Path) (moved bool) {
	i, ok := a.find(path)
	if !ok || i == int(a.selected) {
		return false
	}
	a.selected = uint8(i)
	return true
}

// Selected returns the path that media takes, nil before the first check.
//
//hot:path
func (a *Agent) Selected() *pkt.Path {
	if a.count == 0 {
		return nil
	}
	return &a.paths[a.selected].path
}

// Knows reports whether path has passed a check.
func (a *Agent) Knows(path *pkt.Path) bool {
	_, ok := a.find(path)
	return ok
}

// Consents reports whether the selected path has passed a check, or brought an
// authentic packet, within ConsentTimeout. Checks of other paths do not count: they
// may be replays.
func (a *Agent) Consents(now clock.Time) bool {
	return a.count > 0 && now.Sub(a.paths[a.selected].consented) < ConsentTimeout
}

// Forget takes away what leads to a remote address, other than the selected path.
func (a *Agent) Forget(remote pkt.Addr) {
	for i := int(a.count) - 1; i >= 0; i-- {
		if a.paths[i].path.Remote != remote || i == int(a.selected) {
			continue
		}
		a.count--
		if a.selected == a.count {
			a.selected = uint8(i)
		}
		a.paths[i] = a.paths[a.count]
		a.paths[a.count] = checkedPath{}
	}
}

// Holds reports whether media goes to remote and the peer has consented to it within
// HoldTimeout.
func (a *Agent) Holds(now clock.Time, remote pkt.Addr) bool {
	return a.count > 0 && a.paths[a.selected].path.Remote == remote && now.Sub(a.paths[a.selected].consented) < HoldTimeout
}

// Remotes calls f for every remote address that is remembered.
func (a *Agent) Remotes(f func(pkt.Addr)) {
	for i := range a.paths[:a.count] {
		f(a.paths[i].path.Remote)
	}
}

// Paths calls f for every path that is remembered, with the time since its last
// consent.
func (a *Agent) Paths(now clock.Time, f func(path *pkt.Path, selected bool, age time.Duration)) {
	for i := range a.paths[:a.count] {
		f(&a.paths[i].path, i == int(a.selected), now.Sub(a.paths[i].consented))
	}
}

func (a *Agent) find(path *pkt.Path) (int, bool) {
	for i := range a.paths[:a.count] {
		if a.paths[i].path == *path {
			return i, true
		}
	}
	return 0, false
}

// reaches reports whether some path leads to remote.
func (a *Agent) reaches(remote pkt.Addr) bool {
	for i := range a.paths[:a.count] {
		if a.paths[i].path.Remote == remote {
			return true
		}
	}
	return false
}

func (a *Agent) oldest() int {
	oldest := -1
	for i := range a.paths {
		if i != int(a.selected) && (oldest < 0 || a.paths[i].consented < a.paths[oldest].consented) {
			oldest = i
		}
	}
	return oldest
}
