package engine_test

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
	"sluice/dataplane/simnet"
)

// callPace is a picture each 33 ms; a viewer asks again as browsers do.
var callPace = pace{
	video: 33 * time.Millisecond, audio: 20 * time.Millisecond, reports: time.Second,
	framePackets: 4, keyframeEvery: 1 << 30, payload: 60,
	viewerReports: time.Second, nack: 20 * time.Millisecond,
	window: 1500, remember: 4000,
}

// screen shows a viewer's pictures: each when all packets up to its last are there
// from the last one shown on, or from a keyframe on.
type screen struct {
	next    uint64 // number of the first packet that is not there
	shown   int
	at      clock.Time    // when the last one was shown
	longest time.Duration // that one stood
}

// show shows what can be shown now.
func (d *viewed) show(s *screen, now clock.Time) {
	if s.next == 0 {
		s.next = d.low
	}
	for ; ; s.next++ {
		a, ok := d.got[s.next]
		if !ok {
			if s.next, ok = d.keyframe(s.next); !ok {
				return
			}
			a = d.got[s.next]
		}
		if !a.s.marker {
			continue
		}
		if s.shown > 0 {
			s.longest = max(s.longest, now.Sub(s.at))
		}
		s.shown++
		s.at = now
	}
}

// keyframe returns the number of the first packet of a keyframe that came, the next one's
// where there is none.
func (d *viewed) keyframe(next uint64) (at uint64, ok bool) {
	for at := next + 1; at <= d.highest; at++ {
		if a, came := d.got[at]; came && a.s.key {
			return at, true
		}
	}
	return next, false
}

// lossy plays a stream to one viewer for a minute, over ways of a round trip of rtt
// that lose a part of all packets, to the publisher and to the viewer, each in both
// directions.
func lossy(t *testing.T, seed uint64, noRepair bool, rtt time.Duration, toPublisher, toViewer float64) screen {
	w := newWorld(t, seed, 2, callPace, "go test ./dataplane/engine -run TestLoss")
	w.perfect, w.noRepair = true, noRepair
	s := w.newStream()
	w.publish(s)
	w.net.Run(w.net.Now().Add(300 * time.Millisecond))
	v := w.watch(s)
	v.nack = true
	w.net.Run(w.net.Now().Add(time.Second))
	way := func(h *simnet.Host, loss float64) {
		link := simnet.Link{Delay: rtt / 2, Loss: loss}
		h.Up, h.Down = link, link
	}
	way(s.pub.host, toPublisher)
	way(v.host, toViewer)
	var shown screen
	media := v.onRTP
	v.onRTP = func(b []byte) {
		media(b)
		v.streams[msg.Video].show(&shown, w.net.Now())
	}
	w.net.Run(w.net.Now().Add(time.Minute))
	return shown
}

// TestLoss: where both peers answer requests, no picture stands for half a second in
// a minute in which the way of the publisher, of the viewer, or both lose 2 % of all
// packets, requests and answers alike; at 10 % none stands for a second.
func TestLoss(t *testing.T) {
	seeds, rtts := uint64(2), []time.Duration{50 * time.Millisecond, 2 * time.Millisecond, 200 * time.Millisecond}
	if testing.Short() || raceEnabled {
		seeds, rtts = 1, rtts[:1]
	}
	for _, c := range []struct {
		loss    float64
		longest time.Duration
	}{{0.02, 500 * time.Millisecond}, {0.1, time.Second}} {
		for _, rtt := range rtts {
			for _, way := range [][2]float64{{1, 0}, {0, 1}, {1, 1}} {
				for seed := range seeds {
					s := lossy(t, seed, false, rtt, c.loss*way[0], c.loss*way[1])
					if s.shown < 1700 || s.longest >= c.longest {
						t.Errorf("seed %d, round trip %v, %v and %v of packets lost: %d pictures, one stood for %v",
							seed, rtt, c.loss*way[0], c.loss*way[1], s.shown, s.longest)
					}
				}
			}
		}
	}
}

// TestLossWithoutRepair: a publisher that sends nothing again, but makes keyframes
// when asked, is asked for one when a packet is lost. At 2 % a third of its
// keyframes lose one too, and it is asked twice a second: so a picture may stand
// for a second, but not for two.
func TestLossWithoutRepair(t *testing.T) {
	for _, rtt := range []time.Duration{2 * time.Millisecond, 200 * time.Millisecond} {
		for seed := range uint64(8) {
			s := lossy(t, seed, true, rtt, 0.02, 0)
			if s.shown < 900 || s.longest >= 2*time.Second {
				t.Errorf("seed %d, round trip %v: %d pictures, one stood for %v", seed, rtt, s.shown, s.longest)
			}
		}
	}
}
