package engine_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

const (
	playStep  = 5 * time.Millisecond
	frameTime = 40 * time.Millisecond
)

// play lets the stream go on for a while, a frame each 40 ms, and returns the
// most packets that left in one step.
func (b *burst) play(d time.Duration) (most int) {
	for range d / playStep {
		before := b.packets
		b.now = b.now.Add(playStep)
		b.timers()
		if b.now%clock.Time(frameTime) == 0 {
			b.handle(0, b.frame(false))
		}
		most = max(most, b.packets-before)
	}
	return most
}

// follow counts the media packets of each viewer, and holds that none is missing
// in between.
func (b *burst) follow() map[pkt.Addr]int {
	counts, last := map[pkt.Addr]int{}, map[pkt.Addr]uint16{}
	b.seen = func(run *pkt.Run) {
		to := run.Path.Remote
		for data := range slices.Chunk(b.tx.Bytes(run), int(run.Segment)) {
			if to == b.publisher.path.Remote || wire.Classify(data) != wire.ProtoRTP {
				continue
			}
			seq := binary.BigEndian.Uint16(data[2:])
			if counts[to] > 0 && seq != last[to]+1 {
				b.t.Fatalf("%v got %d after %d", to, seq, last[to])
			}
			counts[to]++
			last[to] = seq
		}
	}
	return counts
}

// TestJoinStorm: many join at once, some time after the keyframe. What they are
// behind is spread: nothing is a burst, nothing is lost, within two seconds all
// are level with the stream, and stay so.
func TestJoinStorm(t *testing.T) {
	const viewers, perSecond = 200, packetsInFrame * int(time.Second/frameTime)
	for _, c := range []struct {
		name     string
		feedback msg.Feedback
		age      time.Duration
		catchUp  time.Duration
	}{
		{"source that can be asked", msg.Feedback{PLI: true}, 800 * time.Millisecond, 400 * time.Millisecond},
		{"source that cannot be asked", msg.Feedback{}, 8 * time.Second, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newPublished(t, 2, viewers+1, c.feedback)
			counts := b.follow()
			b.handle(0, b.frame(true))
			b.play(c.age)
			before := b.packets
			for i := range viewers {
				b.watch(i % 2)
			}
			backlog := packetsInFrame + perSecond*int(c.age)/int(time.Second)
			perTick := (backlog + perSecond*int(c.catchUp)/int(time.Second)) * int(20*time.Millisecond) / int(c.catchUp)
			bound := viewers * (perTick + packetsInFrame + 2) // a frame comes as a whole
			if n := b.packets - before; n > bound+3*viewers { // an answer to a check, a report
				t.Errorf("%d packets at once, want at most %d", n, bound)
			}
			if most := b.play(c.catchUp); most > bound {
				t.Errorf("%d packets in a step, want at most %d of a backlog of %d", most, bound, viewers*backlog)
			}
			// Level: from here on each frame leaves when it comes.
			b.now = b.now.Add(playStep)
			if b.handle(0, b.frame(false)); len(counts) != viewers {
				t.Fatalf("%d viewers got something", len(counts))
			}
			all := int(b.seq) - 100
			for to, n := range counts {
				if n != all {
					t.Fatalf("%v has %d packets of %d", to, n, all)
				}
			}
			for i, e := range b.engines {
				if n := e.Counters.Drops[wire.DropViewerBehind] + e.Counters.Drops[wire.DropRelayFull]; n > 0 {
					t.Errorf("shard %d lost %d packets", i, n)
				}
				if c.age > time.Second && e.Counters.PLIOut > 0 {
					t.Errorf("shard %d asked a source that cannot be asked", i)
				}
			}
		})
	}
}

// TestWhoStartsOnAnOldKeyframe: only where no other can be asked for, and where
// that is not switched off.
func TestWhoStartsOnAnOldKeyframe(t *testing.T) {
	for _, c := range []struct {
		name     string
		feedback msg.Feedback
		gop, own int // of the settings, of the route
		age      time.Duration
		starts   bool
	}{
		{"young", msg.Feedback{PLI: true}, 1 << 20, 0, time.Second, true},
		{"old, another can be asked for by PLI", msg.Feedback{PLI: true}, 1 << 20, 0, time.Second + playStep, false},
		{"old, another can be asked for by FIR", msg.Feedback{FIR: true}, 1 << 20, 0, time.Second + playStep, false},
		{"old, none can be asked for", msg.Feedback{}, 1 << 20, 0, 3 * time.Second, true},
		{"old, switched off", msg.Feedback{}, 0, 0, 3 * time.Second, false},
		{"older than what is kept", msg.Feedback{}, 1 << 20, 0, 8 * time.Second, false},
		{"older, and the route keeps more", msg.Feedback{}, 1 << 20, 4 << 20, 8 * time.Second, true},
		{"switched off, and on for the route", msg.Feedback{}, 0, 1 << 20, 3 * time.Second, true},
		{"switched off for the route", msg.Feedback{}, 1 << 20, -1, 3 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newPublished(t, 1, 2, c.feedback)
			b.configure(func(s *engine.Settings) { s.GOPBytes = c.gop })
			b.engines[0].HandleCommand(b.now, msg.TuneRoute{Route: burstRoute, Tuning: msg.Tuning{GOPBytes: c.own}})
			b.handle(0, b.frame(true))
			b.play(c.age)
			b.watch(0)
			e := b.engines[0]
			if starts := e.Counters.Forwarded > 0; starts != c.starts {
				t.Errorf("starts %v, want %v", starts, c.starts)
			}
			if asks := e.Counters.PLIOut > 0; asks != (!c.starts && (c.feedback.PLI || c.feedback.FIR)) {
				t.Errorf("asks %v", asks)
			}
		})
	}
}

// TestCatchingUpIsNotLate: what a viewer gets while it catches up counts in no
// latency, and no deadline leaves it out.
func TestCatchingUpIsNotLate(t *testing.T) {
	b := newPublished(t, 1, 2, msg.Feedback{})
	e := b.engines[0]
	e.HandleCommand(b.now, msg.TuneRoute{Route: burstRoute, Tuning: msg.Tuning{Deadlines: msg.Deadlines{Budget: time.Millisecond, LateDrop: 2 * time.Millisecond}}})
	b.handle(0, b.frame(true))
	b.play(3 * time.Second)
	b.watch(0)
	b.play(1500 * time.Millisecond)
	if e.Counters.Late > 0 || e.Counters.Drops[wire.DropOverdue] > 0 {
		t.Errorf("%d late, %d overdue", e.Counters.Late, e.Counters.Drops[wire.DropOverdue])
	}
	if want := b.seq - 100; e.Counters.Forwarded != want {
		t.Errorf("%d of %d packets forwarded", e.Counters.Forwarded, want)
	}
}

// TestLeavingWhileCatchingUp: nothing waits for who is gone.
func TestLeavingWhileCatchingUp(t *testing.T) {
	b := newPublished(t, 1, 2, msg.Feedback{})
	b.handle(0, b.frame(true))
	b.play(3 * time.Second)
	b.watch(0)
	b.play(100 * time.Millisecond)
	b.engines[0].HandleCommand(b.now, msg.RemoveSession{ID: b.viewers[0].id})
	b.play(100 * time.Millisecond)
	if n := b.engines[0].Paced(); n != 0 {
		t.Errorf("%d are waited for", n)
	}
}
