package ice

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

func path(remote, local byte) *pkt.Path {
	return &pkt.Path{Remote: pkt.Addr{IP: [16]byte{15: remote}, Port: 9}, Local: [16]byte{15: local}}
}

func sec(s float64) clock.Time { return clock.Time(s * float64(time.Second)) }

func selected(t *testing.T, a *Agent, want *pkt.Path) {
	t.Helper()
	if got := a.Selected(); got == nil || *got != *want {
		t.Fatalf("media goes to %v, want %v", got, want)
	}
}

func TestFirstCheckSelects(t *testing.T) {
	var a Agent
	if a.Selected() != nil || a.Consents(sec(1)) || a.Knows(path(1, 1)) || a.Authentic(sec(1), path(1, 1)) {
		t.Error("an agent without a check knows something")
	}
	a.Checked(sec(1), path(1, 1))
	selected(t, &a, path(1, 1))
	if !a.Consents(sec(1)) || !a.Knows(path(1, 1)) || a.Knows(path(1, 2)) || a.Knows(path(2, 1)) {
		t.Error("a checked path is not known, or another is")
	}
}

// TestReplayedCheckMovesNothing: who overhears a check can send it again from
// elsewhere. Media moves only with a packet that took the session's keys.
func TestReplayedCheckMovesNothing(t *testing.T) {
	var a Agent
	a.Checked(sec(1), path(1, 1))
	for i := range 100 {
		a.Checked(sec(2+float64(i)/10), path(2, 1))
		selected(t, &a, path(1, 1))
	}
	// Not even when the peer's own checks stop: then the session ends.
	a.Checked(sec(30), path(2, 1))
	if !a.Consents(sec(30.999)) || a.Consents(sec(31)) || a.Consents(sec(40)) {
		t.Error("checks of another path count as consent for the selected one")
	}
	selected(t, &a, path(1, 1))
}

func TestAuthenticMoves(t *testing.T) {
	var a Agent
	a.Checked(sec(1), path(1, 1))
	if a.Authentic(sec(2), path(2, 1)) {
		t.Error("media moves to a path that was never checked")
	}
	a.Checked(sec(2), path(2, 1))
	if a.Authentic(sec(2), path(1, 1)) {
		t.Error("media moved to where it was")
	}
	if !a.Authentic(sec(3), path(2, 1)) {
		t.Error("media does not follow")
	}
	selected(t, &a, path(2, 1))
	if !a.Consents(sec(31)) || a.Consents(sec(32)) {
		t.Error("consent is not that of the new path")
	}
}

// TestAuthenticConsents: a peer that stopped checking but goes on sending, media or
// reports, keeps its session for as long as it does so.
func TestAuthenticConsents(t *testing.T) {
	var a Agent
	a.Checked(sec(1), path(1, 1))
	for s := 1.0; s < 200; s += 20 {
		if !a.Consents(sec(s)) {
			t.Fatalf("no consent after %v s", s)
		}
		a.Authentic(sec(s), path(1, 1))
	}
	a.Authentic(sec(205), path(2, 1)) // never checked: says nothing of the selected path
	if !a.Consents(sec(210.9)) || a.Consents(sec(211)) {
		t.Error("consent does not end 30 s after the last packet")
	}
}

// TestNoWayBackToStalePath: a path whose check is older than consent allows gets
// no media, whatever comes from there.
func TestNoWayBackToStalePath(t *testing.T) {
	var a Agent
	a.Checked(sec(1), path(1, 1))
	a.Checked(sec(20), path(2, 1))
	a.Authentic(sec(20), path(2, 1))
	if a.Authentic(sec(31), path(1, 1)) {
		t.Error("media moves to an address that was checked 30 s ago")
	}
	a.Checked(sec(32), path(1, 1))
	if !a.Authentic(sec(32), path(1, 1)) {
		t.Error("media does not move after a new check")
	}
}

func TestEviction(t *testing.T) {
	var a Agent
	a.Checked(sec(1), path(1, 1)) // selected, and the oldest
	for i := byte(2); i <= maxPaths; i++ {
		if _, gone := a.Checked(sec(float64(i)), path(i, 1)); gone {
			t.Fatalf("path %d evicts", i)
		}
	}
	a.Checked(sec(10), path(2, 1)) // again: now 3 is the oldest
	forgotten, gone := a.Checked(sec(11), path(50, 1))
	if !gone || forgotten != path(3, 1).Remote {
		t.Errorf("%v (%v) was forgotten, want that of path 3", forgotten, gone)
	}
	if a.Knows(path(3, 1)) || !a.Knows(path(50, 1)) {
		t.Error("the forgotten path is known, or the new one is not")
	}
	for i := range byte(100) {
		a.Checked(sec(12+float64(i)), path(100+i, 1))
	}
	selected(t, &a, path(1, 1))
}

// TestEvictionKeepsSharedRemote: a peer that reaches two of our addresses has
// one remote address in two paths; forgetting one does not forget the address.
func TestEvictionKeepsSharedRemote(t *testing.T) {
	var a Agent
	a.Checked(sec(1), path(1, 1))
	a.Checked(sec(2), path(2, 1))
	a.Checked(sec(3), path(2, 2))
	for i := byte(4); i <= maxPaths; i++ {
		a.Checked(sec(4), path(i, 1))
	}
	if forgotten, gone := a.Checked(sec(5), path(40, 1)); gone {
		t.Errorf("%v was forgotten, which another path still has", forgotten)
	}
	if forgotten, gone := a.Checked(sec(6), path(50, 1)); !gone || forgotten != path(2, 2).Remote {
		t.Errorf("%v (%v) was forgotten, want that of path 2", forgotten, gone)
	}
}

func TestForget(t *testing.T) {
	for picked := byte(1); picked <= 4; picked++ {
		var a Agent
		for i := byte(1); i <= 4; i++ {
			a.Checked(sec(float64(i)), path(i, 1))
		}
		a.Checked(sec(5), path(2, 2))
		a.Authentic(sec(5), path(picked, 1))
		a.Forget(path(2, 1).Remote)
		selected(t, &a, path(picked, 1))
		for i := byte(1); i <= 4; i++ {
			if gone := i == 2 && picked != 2; a.Knows(path(i, 1)) == gone {
				t.Errorf("%d is selected, 2 was forgotten: %d is known: %v", picked, i, !gone)
			}
		}
		if a.Knows(path(2, 2)) {
			t.Error("the other path to the address is known")
		}
	}
	var none Agent
	none.Forget(path(1, 1).Remote)
	if none.Selected() != nil {
		t.Error("something from nothing")
	}
}

func TestRemotes(t *testing.T) {
	var a Agent
	a.Checked(sec(1), path(1, 1))
	a.Checked(sec(1), path(2, 1))
	seen := map[pkt.Addr]bool{}
	a.Remotes(func(r pkt.Addr) { seen[r] = true })
	if len(seen) != 2 || !seen[path(1, 1).Remote] || !seen[path(2, 1).Remote] {
		t.Errorf("remotes %v", seen)
	}
}
