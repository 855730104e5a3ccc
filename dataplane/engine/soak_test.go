package engine_test

import (
	"testing"
	"time"

	"sluice/dataplane/msg"
)

// slowPace is a stream of two video packets a second and one audio packet every
// two: slow enough to live through days, fast enough that everything wraps.
var slowPace = pace{
	video: time.Second, audio: 2 * time.Second, reports: 5 * time.Second,
	framePackets: 3, keyframeEvery: 60, payload: 60,
	viewerReports: 5 * time.Second, nack: 200 * time.Millisecond,
	window: 1500, remember: 4000,
}

// TestSeventyTwoHours lives through three days of one stream on two shards. In
// the numbering of the viewers that stay, video sequence numbers wrap 7 times
// (the rollover counter reaches 7), audio's once, video timestamps 5 times and
// audio's twice; the numbers of the publishers, who restart every 14 hours or so,
// wrap several times. Bursts of loss come every few minutes, rebinding every hour
// or two.
func TestSeventyTwoHours(t *testing.T) {
	hours := 72
	if testing.Short() || raceEnabled {
		hours = 3
	}
	w := newWorld(t, 72, 2, slowPace, "go test ./dataplane/engine -run TestSeventyTwoHours")
	w.lossy = true
	s := w.newStream()
	w.publish(s)
	w.net.Run(w.net.Now().Add(5 * time.Second))
	stays := []*viewer{w.watch(s), w.watch(s)}
	for _, v := range stays {
		v.nack = true
	}
	ownWraps, restarts, bursts := 0, 0, 0
	for minute := 1; minute <= hours*60; minute++ {
		w.net.Run(w.net.Now().Add(time.Minute))
		peers := w.live()
		p := peers[w.rand.IntN(len(peers))]
		if minute%7 == 0 {
			bursts++
			p.host.Up.Dark = w.net.Now().Add(w.rand.Duration(5 * time.Second))
			p.host.Down.Dark = w.net.Now().Add(w.rand.Duration(5 * time.Second))
		}
		if minute%80 == 0 {
			p.rebind()
			w.counts.rebinds++
		}
		if minute%60 == 30 {
			w.watch(s)
		}
		if minute%60 == 50 {
			w.remove(s.viewers[len(s.viewers)-1].peer)
		}
		if minute%500 == 250 {
			s.pub.encoderRestart()
		}
		if minute%(14*60+24) == 0 || hours < 72 && minute%60 == 0 {
			restarts++
			ownWraps += int(s.pub.sources[msg.Audio].seq>>16) + int(s.pub.sources[msg.Video].seq>>16)
			w.remove(s.pub.peer)
			w.net.Run(w.net.Now().Add(w.rand.Duration(20 * time.Second)))
			w.publish(s)
		}
	}
	w.settled()
	video, audio := stays[0].streams[msg.Video], stays[0].streams[msg.Audio]
	t.Logf("%d restarts, %d bursts, %+v; the viewers' sequence numbers wrapped %d and %d times, timestamps %d and %d times; the publishers' wrapped %d times",
		restarts, bursts, w.counts, video.highest>>16, audio.highest>>16, video.wraps, audio.wraps, ownWraps)
	if hours == 72 && (video.highest>>16 < 7 || audio.highest>>16 < 1 || video.wraps < 5 || audio.wraps < 2 || restarts < 5 || ownWraps < 2 || w.counts.rebinds < 50 || bursts < 500) {
		t.Error("the run was too short for something to wrap as often as it says")
	}
	for _, p := range w.live() {
		w.remove(p)
	}
	w.net.Run(w.net.Now().Add(time.Second))
	w.empty()
}
