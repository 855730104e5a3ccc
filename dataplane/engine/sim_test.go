package engine_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/pkt"
)

var simSeed = flag.Int("seed", -1, "the only seed that TestSimulation runs")

// livePace is a video call at a third of its size.
var livePace = pace{
	video: 100 * time.Millisecond, audio: 60 * time.Millisecond, reports: time.Second,
	framePackets: 4, keyframeEvery: 60, payload: 60,
	viewerReports: 700 * time.Millisecond, nack: 40 * time.Millisecond,
	window: 1500, remember: 4000,
}

// TestSimulation lives through random lives of streams: viewers come and go,
// publishers restart on the same or another shard, encoders restart, NATs
// rebind, ICE restarts, links lose everything for a while. The invariants are in the models.
func TestSimulation(t *testing.T) {
	seeds := 200
	if testing.Short() || raceEnabled {
		seeds = 25
	}
	var total counts
	for seed := range seeds {
		if *simSeed >= 0 {
			seed = *simSeed
		}
		repeat := fmt.Sprintf("go test ./dataplane/engine -run 'TestSimulation$' -seed %d", seed)
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := simulate(t, uint64(seed), repeat)
			total.add(&c)
		})
		if !ok || *simSeed >= 0 {
			break
		}
	}
	t.Logf("%+v", total)
	if *simSeed < 0 && !t.Failed() && slices.Contains(total.list(), 0) {
		t.Errorf("something never happened: %+v", total)
	}
}

func (c *counts) list() []int {
	return []int{c.forwarded, c.received, c.splices, c.senderReports, c.reports, c.twcc, c.keyframeRequests, c.upstreamRepairs, c.relayed, c.rebinds,
		c.trains, c.padded, c.paddedAgain, c.retunes, c.restarts, c.connections, c.steered, c.moves}
}

func (c *counts) add(o *counts) {
	c.forwarded += o.forwarded
	c.received += o.received
	c.splices += o.splices
	c.senderReports += o.senderReports
	c.reports += o.reports
	c.twcc += o.twcc
	c.keyframeRequests += o.keyframeRequests
	c.upstreamRepairs += o.upstreamRepairs
	c.relayed += o.relayed
	c.rebinds += o.rebinds
	c.trains += o.trains
	c.padded += o.padded
	c.paddedAgain += o.paddedAgain
	c.retunes += o.retunes
	c.restarts += o.restarts
	c.connections += o.connections
	c.steered += o.steered
	c.moves += o.moves
}

func simulate(t *testing.T, seed uint64, repeat string) counts {
	w := newWorld(t, seed, 1+int(seed%maxShards), livePace, repeat)
	w.lossy = w.rand.Chance(0.8)
	w.tcp = true
	w.retune()
	for range 1 + w.rand.IntN(2) {
		w.newStream()
	}
	end := w.net.Now().Add(10*time.Second + w.rand.Duration(20*time.Second))
	for w.net.Now() < end {
		w.happen()
		w.net.Run(w.net.Now().Add(w.rand.Duration(900 * time.Millisecond)))
	}
	w.settled()
	if w.rand.Chance(0.2) {
		w.vanish()
	}
	for _, p := range w.live() {
		w.remove(p)
	}
	w.net.Run(w.net.Now().Add(time.Second))
	w.empty()
	return w.counts
}

// happen lets one thing happen to one stream.
func (w *world) happen() {
	s := w.streams[w.rand.IntN(len(w.streams))]
	if s.pub == nil {
		w.publish(s)
		return
	}
	if w.rand.Chance(0.1) {
		w.retune()
	}
	if w.rand.Chance(0.1) {
		w.switchSteering()
	}
	switch w.rand.IntN(11) {
	case 0:
		w.remove(s.pub.peer)
	case 1:
		w.remove(s.pub.peer)
		w.publish(s)
	case 2:
		s.pub.encoderRestart()
	case 3:
		if len(s.viewers) > 0 {
			w.remove(s.viewers[w.rand.IntN(len(s.viewers))].peer)
		}
	case 4:
		peers := w.live()
		p := peers[w.rand.IntN(len(peers))]
		if p.keyed {
			p.rebind()
			w.counts.rebinds++
		}
	case 5:
		peers := w.live()
		p := peers[w.rand.IntN(len(peers))]
		dark := w.net.Now().Add(w.rand.Duration(400 * time.Millisecond))
		if p.host.Up.Dark = dark; w.rand.Chance(0.5) {
			p.host.Down.Dark = dark
		}
	case 6:
		w.attack()
	case 7:
		peers := w.live()
		w.restart(peers[w.rand.IntN(len(peers))])
	default:
		if len(s.viewers) < 5 {
			w.watch(s)
		}
	}
}

// retune changes what shapes the trains, under way.
func (w *world) retune() {
	set := engine.DefaultSettings()
	set.TrainMax = 1 + w.rand.IntN(pkt.MaxRunPackets)
	set.PadMax = []int{0, 1, 16, 100}[w.rand.IntN(4)]
	set.TrainHold = []time.Duration{0, 2 * time.Millisecond, 30 * time.Millisecond}[w.rand.IntN(3)]
	for _, e := range w.engines {
		e.Configure(set)
	}
	w.counts.retunes++
}

// attack sends what an attacker without credentials can, from a fresh address.
func (w *world) attack() {
	h := w.net.NewHost(w.newAddr(nil), func([]byte) {})
	for _, p := range w.live() {
		good := bindingRequest(p.ufrag, "not the password", w.rand.Uint64())
		h.Send(good)
		h.Send(good[:20])
		unsigned := good[:len(good)-32]
		unsigned[3] = byte(len(unsigned) - 20)
		h.Send(unsigned)
	}
	junk := make([]byte, 40)
	for first := range 256 {
		w.rand.Fill(junk)
		junk[0] = byte(first)
		h.Send(junk)
	}
}

// vanish lets some peers go without a word, and waits until consent is over.
func (w *world) vanish() {
	for i, p := range w.live() {
		if i%2 == 0 {
			p.gone = true
		}
	}
	closed := w.closed
	w.net.Run(w.net.Now().Add(31 * time.Second))
	for _, p := range w.sessions {
		if p.gone {
			w.fail("consent", "%v is there 31 s after its peer went", p.id)
		}
	}
	if closed == w.closed && len(w.sessions) > 0 && w.net.Now() > clock.Time(time.Minute) {
		w.fail("consent", "nobody was closed")
	}
}
