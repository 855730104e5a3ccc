package load

import "time"

// Counts is what happened to the packets of one window.
type Counts struct {
	Seconds        float64 `json:"seconds"`         // for which the publisher sent
	Sent           uint64  `json:"sent"`            // packets by the publisher
	Delivered      uint64  `json:"delivered"`       // packets to all viewers
	Lost           int64   `json:"lost"`            // sent x viewers - delivered; below zero: the server sent packets more than once
	Worst          int64   `json:"worst_lost"`      // lost by the viewer that lost most
	Duplicates     uint64  `json:"duplicates"`      // full viewers only, as are the next three
	Reordered      uint64  `json:"reordered"`       //
	Corrupt        uint64  `json:"corrupt"`         // did not decrypt, or had no marker
	GeneratorDrops uint64  `json:"generator_drops"` // lost by the generator itself
	Latency        Latency `json:"latency"`

	CPUSeconds float64 `json:"cpu_seconds"` // of the server, until the last packet had arrived
	UserShare  float64 `json:"user_share"`  // part of it spent outside the kernel
	OwnCores   float64 `json:"own_cores"`   // busy with the generator
	OtherCores float64 `json:"other_cores"` // busy with neither, so the run was disturbed
}

// Latency holds quantiles over every packet of every full viewer, in ms.
type Latency struct {
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
}

// PPS is how many packets a second reached all viewers together.
func (c Counts) PPS() float64 { return float64(c.Delivered) / c.Seconds }

// Cores is how many CPUs the server kept busy.
func (c Counts) Cores() float64 { return c.CPUSeconds / c.Seconds }

// MicrosPerPacket is the server's CPU time for each delivered packet.
func (c Counts) MicrosPerPacket() float64 { return c.CPUSeconds * 1e6 / float64(max(c.Delivered, 1)) }

// LossShare is the part of the packets that did not arrive, 0 to 1.
func (c Counts) LossShare() float64 {
	due := float64(int64(c.Delivered) + c.Lost)
	if due == 0 {
		return 0
	}
	return float64(c.Lost) / due
}

// Window is a time in which packets are counted.
type Window struct {
	bench   *Bench
	viewers []*Viewer
	before  mark
	start   time.Time
}

// Begin opens a window for the viewers given, all of which must have their first keyframe. Others may come and go meanwhile.
func (b *Bench) Begin(viewers []*Viewer) (*Window, error) {
	before, err := b.hold(viewers)
	if err != nil {
		return nil, err
	}
	b.hub.locked(func() { b.latency = latencies{measuring: true} })
	w := &Window{bench: b, viewers: viewers, before: before, start: time.Now()}
	b.pub.resume()
	return w, nil
}

// End closes the window and says what happened in it. The publisher goes on.
func (w *Window) End() (Counts, error) {
	seconds := time.Since(w.start).Seconds()
	after, err := w.bench.hold(w.viewers)
	if err != nil {
		return Counts{}, err
	}
	defer w.bench.pub.resume()
	counts := after.since(w.before, w.viewers)
	counts.Seconds = seconds
	counts.cost(w.before.usage, after.usage)
	w.bench.hub.locked(func() {
		w.bench.latency.measuring = false
		counts.Latency = w.bench.latency.hist.summary()
	})
	return counts, nil
}

// cost charges the CPU time between two marks to the window.
func (c *Counts) cost(before, after usage) {
	server, own := after.server.Sub(before.server), after.own.Sub(before.own)
	c.CPUSeconds = server.Total.Seconds()
	c.UserShare = server.UserShare()
	c.OwnCores = own.Total.Seconds() / after.at.Sub(before.at).Seconds()
	others := after.machine - before.machine - server.Total - own.Total
	c.OtherCores = max(others.Seconds()/after.at.Sub(before.at).Seconds(), 0)
}

// since is what happened between two marks over the same viewers.
func (m mark) since(before mark, viewers []*Viewer) (c Counts) {
	for k := range m.sent {
		c.Sent += m.sent[k] - before.sent[k]
	}
	for i, a := range m.viewers {
		z := before.viewers[i]
		got := a.delivered - z.delivered
		if viewers[i].full {
			got = a.unique - z.unique
		}
		lost := int64(c.Sent) - int64(got)
		c.Delivered += got
		c.Lost += lost
		c.Worst = max(c.Worst, lost)
		c.Duplicates += a.duplicates - z.duplicates
		c.Reordered += a.reordered - z.reordered
		c.Corrupt += a.corrupt - z.corrupt
		c.GeneratorDrops += a.overflow - z.overflow
	}
	return c
}

func (h *histogram) summary() Latency {
	return Latency{
		P50: ms(h.quantile(0.5)), P90: ms(h.quantile(0.9)), P99: ms(h.quantile(0.99)),
		P999: ms(h.quantile(0.999)), Max: ms(h.max),
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
