package main

import (
	"context"
	"fmt"

	"sluice/perf/lab"
	"sluice/perf/load"
	"sluice/perf/result"
	"sluice/perf/rig"
)

// The load: latency and cost at a steady rate, throughput at one that nobody carries. The publisher's frames come merged, as network
// cards' drivers hand them over and virtual ones do not by themselves: to a socket without GRO the kernel hands them packet by packet.
var steady = load.Media{FPS: 30, PPF: 8, Size: 1200, Silent: true, Trains: true}

const floodFPS = 1000

// timed is how many viewers decrypt and time every packet.
const timed = 10

const mediaAbout = "%d viewers of a stream of 30 frames/s of 8 packets, transmit side; throughput at 1000 frames/s"

// yardstickMedia has the steps from a system call for each packet, which Sluice has no way to go back to.
func (e *effect) yardstickMedia(ctx context.Context) (*ladder, error) {
	l := newLadder(result.Scenario{Name: "media, stand-in", Setup: "transmit", About: fmt.Sprintf(mediaAbout, e.viewers)}, []step{
		{name: "recvfrom/sendto", attrs: []string{"calls=sendto"}},
		{name: "+ recvmmsg/sendmmsg", attrs: []string{"calls=mmsg"}},
		{name: "+ GSO", attrs: []string{"calls=gso"}},
		{name: "+ GRO", attrs: []string{"calls=gro"}},
	})
	l.remark = "The server is perf/yardstick, one thread that opens and seals SRTP and does nothing else."
	return l, e.media(ctx, l, "yardstick")
}

// sluiceMedia has the steps that are attributes of Sluice.
func (e *effect) sluiceMedia(ctx context.Context) (*ladder, error) {
	names := []string{"recvmmsg/sendmmsg", "+ GSO", "+ GRO", "+ steering", "+ busy poll", "+ spinning"}
	switches := []struct{ path, off, on string }{
		{"dataplane/gso", "0", "1"}, {"dataplane/gro", "0", "1"}, {"steer/mode", "off", "reuseport"},
		{"dataplane/busy_poll_us", "0", "50"}, {"dataplane/spin_us", "0", "100"},
	}
	var steps []step
	for i, name := range names {
		st := step{name: name}
		for j, s := range switches {
			value := s.off
			if j < i {
				value = s.on
			}
			st.attrs = append(st.attrs, s.path+"="+value)
		}
		steps = append(steps, st)
	}
	l := newLadder(result.Scenario{Name: "media, Sluice", Setup: "transmit", About: fmt.Sprintf(mediaAbout, e.viewers)}, steps)
	l.remark = "Busy polling (SO_BUSY_POLL, dataplane/busy_poll_us=50) needs a network card: the devices of this network have no queue to look " +
		"into. Spinning (dataplane/spin_us=100) asks the sockets instead."
	return l, e.media(ctx, l, "sluice")
}

func (e *effect) media(ctx context.Context, l *ladder, server string) error {
	stop, err := e.start(ctx, server, rig.Place{Lab: e.lab})
	if err != nil {
		return err
	}
	defer stop()
	l.flood = newLadder(result.Scenario{
		Name: l.Name + ", flooded", Setup: l.Setup, About: fmt.Sprintf("%d viewers of a stream of %d frames/s: more than it carries", e.viewers, floodFPS),
	}, l.steps).Scenario
	return e.discarding(ctx, func(b *load.Bench, viewers []*load.Viewer) error {
		if err := e.climb(ctx, l.Scenario, l.steps, func(ctx context.Context, _ step) (load.Report, error) {
			c, err := b.Measure(ctx, viewers, e.window)
			return load.Report{Plan: e.plan(steady), Counts: c}, err
		}); err != nil {
			return err
		}
		return e.flood(ctx, l, b)
	})
}

// flood goes through the steps again with those viewers, whom nobody could join any more.
func (e *effect) flood(ctx context.Context, l *ladder, b *load.Bench) error {
	if err := e.lab.Add(lab.Sampled); err != nil {
		return err
	}
	defer e.lab.Remove(lab.Sampled)
	if err := b.SetFPS(floodFPS); err != nil {
		return err
	}
	flooded := steady
	flooded.FPS = floodFPS
	return e.climb(ctx, l.flood, l.steps, func(ctx context.Context, _ step) (load.Report, error) {
		c, err := b.Flow(ctx, e.window)
		return load.Report{Plan: e.plan(flooded), Counts: c}, err
	})
}

// discarding calls f while the steady stream is watched and the media of all viewers that are not timed is discarded as it leaves the server.
func (e *effect) discarding(ctx context.Context, f func(*load.Bench, []*load.Viewer) error) error {
	return e.watched(ctx, e.server.Target("steady"), steady, e.viewers, timed, func(b *load.Bench, viewers []*load.Viewer) error {
		if err := e.lab.Add(lab.Viewers); err != nil {
			return err
		}
		defer e.lab.Remove(lab.Viewers)
		return f(b, viewers)
	})
}

func (e *effect) plan(m load.Media) load.Scenario {
	return load.Scenario{Viewers: e.viewers, Full: min(timed, e.viewers), Streams: 1, FPS: m.FPS, PPF: m.PPF, Size: m.Size, Silent: m.Silent, WindowS: e.window.Seconds()}
}
