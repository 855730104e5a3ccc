package engine_test

import (
	"slices"
	"testing"
	"time"

	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// switchSteering puts a Steerer before the shards, or takes it away.
func (w *world) switchSteering() {
	on := w.steered == nil
	if on {
		w.steered = map[pkt.Addr]int{}
	}
	for shard, e := range w.engines {
		e.SetSteering(on)
		w.drain(shard)
		if n := e.Stats().Untold; n > 0 {
			w.fail("steering", "shard %d has not told of %d peers", shard, n)
		}
	}
	if !on {
		// What the shards tell each other arrives before the hash decides again.
		w.net.After(20*time.Microsecond, func() { w.steered = nil })
	}
}

// steerable bounds the table of the Steerer, so that it is full now and then.
const steerable = 8

// steer takes what a shard says of its peers.
func (w *world) steer(shard int) {
	for news := (engine.Steer{}); w.engines[shard].PollSteer(&news); {
		owner, known := w.steered[news.Remote]
		switch {
		case news.Here && (known || len(w.steered) < steerable):
			w.steered[news.Remote] = shard
		case !news.Here && known && owner == shard:
			delete(w.steered, news.Remote)
		}
	}
}

// TestSteering: the Steerer hears of each address when a check passed and when
// the session ends, of those that are there when it comes, and of nothing when
// there is none.
func TestSteering(t *testing.T) {
	b := newBurst(t, 2, 2)
	news := func(e *engine.Engine) (all []engine.Steer) {
		for s := (engine.Steer{}); e.PollSteer(&s); {
			all = append(all, s)
		}
		return all
	}
	home := b.engines[0]
	if got := news(home); got != nil {
		t.Errorf("without a Steerer: %v", got)
	}
	home.SetSteering(true)
	if got := news(home); len(got) != 2 || !got[0].Here || !got[1].Here {
		t.Errorf("the two peers of the shard: %v", got)
	}
	add := msg.AddSession{Send: []msg.Send{{Route: burstRoute, Kind: msg.Video, ClockRate: 90000, PT: burstViewerPT, SSRC: 9}}}
	p := b.join(0, 9, add)
	if got, want := news(home), []engine.Steer{{Remote: p.path.Remote, Here: true}}; !slices.Equal(got, want) {
		t.Errorf("after a check: %v, want %v", got, want)
	}
	b.handle(0, []pkt.Datagram{p.check(2)})
	if got := news(home); got != nil {
		t.Errorf("after another one: %v", got)
	}
	home.HandleCommand(b.now, msg.RemoveSession{ID: p.id})
	if got, want := news(home), []engine.Steer{{Remote: p.path.Remote}}; !slices.Equal(got, want) {
		t.Errorf("after the session: %v, want %v", got, want)
	}
	home.SetSteering(false)
	if n := home.Stats().Untold; n != 2 {
		t.Errorf("%d messages for the other shard, want one for each peer", n)
	}
	b.drain()
	other := b.engines[1]
	// They know too that the publisher has its media there: nobody else gets that
	// address by a check of a session of his own.
	thief := b.join(1, 11, add)
	thief.path = b.publisher.path
	b.handle(1, []pkt.Datagram{thief.check(3)})
	before := other.Counters.Misplaced
	b.handle(1, []pkt.Datagram{{Path: b.publisher.path, Data: []byte{0x80, 0}}})
	if n := other.Counters.Misplaced - before; n != 1 {
		t.Errorf("the other shard passes on %d of 1 datagrams to the publisher's", n)
	}
}
