package load

import (
	"context"
	"time"

	"sluice/perf/lab"
	"sluice/perf/proc"
)

// Counts is what happened to the packets of one window.
type Counts struct {
	Seconds        float64 `json:"seconds"`         // for which the publisher sent
	Sent           uint64  `json:"sent"`            // packets by the publisher
	Due            uint64  `json:"due"`             // packets to all viewers, were nothing lost
	Delivered      uint64  `json:"delivered"`       // packets to all viewers, those discarded on their way among them
	Lost           int64   `json:"lost"`            // due - delivered; below zero: the server sent packets more than once
	Worst          int64   `json:"worst_lost"`      // lost by the viewer that lost most; 0 when media was discarded on its way
	SoundDue       uint64  `json:"sound_due"`       // audio packets to the full viewers
	SoundLost      int64   `json:"sound_lost"`      // of these, like Lost
	Duplicates     uint64  `json:"duplicates"`      // full viewers only, as are the next three
	Reordered      uint64  `json:"reordered"`       //
	Corrupt        uint64  `json:"corrupt"`         // did not decrypt, or had no marker
	GeneratorDrops uint64  `json:"generator_drops"` // lost by the generator itself
	Late           float64 `json:"late_ms"`         // how late a packet left the publisher at worst
	Frames         Frames  `json:"frames"`
	Latency        Latency `json:"latency"`
	InsideP50      float64 `json:"inside_p50_ms"` // of packets to all viewers, in the server alone (Buckets); 0 where it does not tell
	InsideP99      float64 `json:"inside_p99_ms"` //
	WorkSeconds    float64 `json:"work_seconds"`  // of its loops (Inside.Work)

	CPUSeconds   float64 `json:"cpu_seconds"`  // of the server, until the last packet had arrived
	Cycles       uint64  `json:"cycles"`       // the same, 0 where the machine has no counters
	Instructions uint64  `json:"instructions"` //
	UserShare    float64 `json:"user_share"`   // part of it spent outside the kernel
	OwnCores     float64 `json:"own_cores"`    // busy with the generator
	OtherCores   float64 `json:"other_cores"`  // busy with neither, so the run was disturbed
}

// Latency holds the mean and quantiles over every packet of every full viewer, in ms.
type Latency struct {
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`

	CDF [][2]float64 `json:"cdf,omitempty"` // ms, and the share of packets that took no longer
}

// PPS is how many packets a second reached all viewers together.
func (c Counts) PPS() float64 { return float64(c.Delivered) / c.Seconds }

// Cores is how many CPUs the server kept busy.
func (c Counts) Cores() float64 { return c.CPUSeconds / c.Seconds }

// MicrosPerPacket is the server's CPU time for each delivered packet.
func (c Counts) MicrosPerPacket() float64 { return c.CPUSeconds * 1e6 / float64(max(c.Delivered, 1)) }

// PerPacket is a sum over delivered packets.
func (c Counts) PerPacket(sum uint64) float64 { return float64(sum) / float64(max(c.Delivered, 1)) }

// LossShare is the part of the packets that did not arrive, 0 to 1.
func (c Counts) LossShare() float64 {
	return float64(c.Lost) / float64(max(c.Due, 1))
}

// Window is a time in which packets are counted.
type Window struct {
	bench   *Bench
	viewers []*Viewer
	before  mark
	inside  Inside
	start   time.Time
	events  *proc.Counters // nil where the machine has none
}

// Begin opens a window for the viewers given, all of which must have their first keyframe. Others may come and go meanwhile.
func (b *Bench) Begin(viewers []*Viewer) (*Window, error) {
	before, err := b.hold(viewers)
	if err != nil {
		return nil, err
	}
	inside, err := b.inside()
	if err != nil {
		return nil, err
	}
	if before.usage, err = readUsage(b.target.PID); err != nil { // again: the server has just answered us
		return nil, err
	}
	b.hub.locked(func() { b.latency = latencies{measuring: true} })
	for _, p := range b.pubs {
		p.late.Store(0)
	}
	w := &Window{bench: b, viewers: viewers, before: before, inside: inside, start: time.Now()}
	if b.target.PID != 0 {
		w.events, _ = proc.OpenCounters(b.target.PID) // an error means that there are none
	}
	b.pacer.resume()
	return w, nil
}

// End closes the window and says what happened in it. The publisher goes on.
func (w *Window) End() (Counts, error) {
	if w.events != nil {
		defer w.events.Close()
	}
	seconds := time.Since(w.start).Seconds()
	after, err := w.bench.hold(w.viewers)
	if err != nil {
		return Counts{}, err
	}
	defer w.bench.pacer.resume()
	counts := after.since(w.before, w.viewers)
	counts.Seconds = seconds
	for _, p := range w.bench.pubs {
		counts.Late = max(counts.Late, ms(time.Duration(p.late.Load())))
	}
	counts.cost(w.before.usage, after.usage)
	if w.events != nil {
		if counts.Cycles, counts.Instructions, err = w.events.Read(); err != nil {
			return counts, err
		}
	}
	inside, err := w.bench.inside()
	if err != nil {
		return counts, err
	}
	latency := inside.Latency.since(w.inside.Latency)
	counts.InsideP50, counts.InsideP99 = latency.quantile(0.5), latency.quantile(0.99)
	counts.WorkSeconds = (inside.Work - w.inside.Work).Seconds()
	w.bench.hub.locked(func() {
		w.bench.latency.measuring = false
		counts.Latency = w.bench.latency.hist.summary()
	})
	return counts, nil
}

// Measure counts for a time. Where the target has a Drop, whose viewers it discards already, it does so twice: latency while the
// media of the full viewers passes, cost while nobody's does.
func (b *Bench) Measure(ctx context.Context, viewers []*Viewer, d time.Duration) (Counts, error) {
	return b.measure(func() (Counts, error) {
		w, err := b.Begin(viewers)
		if err != nil {
			return Counts{}, err
		}
		if err := sleep(ctx, d); err != nil {
			return Counts{}, err
		}
		return w.End()
	})
}

func (b *Bench) measure(window func() (Counts, error)) (Counts, error) {
	passing, err := window()
	if err != nil || b.target.Drop == nil {
		return passing, err
	}
	if err := b.target.Drop.Add(lab.Sampled); err != nil {
		return passing, err
	}
	defer b.target.Drop.Remove(lab.Sampled)
	c, err := window()
	c.Latency, c.Frames = passing.Latency, passing.Frames
	c.Lost += passing.Lost
	c.Due += passing.Due
	c.Duplicates, c.Reordered, c.Corrupt = passing.Duplicates, passing.Reordered, passing.Corrupt
	c.OtherCores, c.Late = max(c.OtherCores, passing.OtherCores), max(c.Late, passing.Late)
	return c, err
}

// Flow counts what the target's Drop discards in a time, and what that costs, while the publishers go on: it is for a server that is
// offered more than it can carry, whose backlog would otherwise count too. What was due is not known then.
func (b *Bench) Flow(ctx context.Context, d time.Duration) (c Counts, err error) {
	var packets [2]uint64
	var used [2]usage
	for i := range used {
		if packets[i], err = b.target.Drop.Packets(); err != nil {
			return c, err
		}
		if used[i], err = readUsage(b.target.PID); err != nil {
			return c, err
		}
		if i == 0 {
			if err := sleep(ctx, d); err != nil {
				return c, err
			}
		}
	}
	c.Seconds = used[1].at.Sub(used[0].at).Seconds()
	c.Delivered = packets[1] - packets[0]
	c.cost(used[0], used[1])
	return c, nil
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
	for i := range m.sent {
		c.Sent += m.sent[i] - before.sent[i]
	}
	c.Delivered = m.dropped - before.dropped
	for i, a := range m.viewers {
		v, z := viewers[i], before.viewers[i]
		got := a.delivered - z.delivered
		if v.full {
			got = a.unique - z.unique
			sound := m.sound[v.stream] - before.sound[v.stream]
			c.SoundDue += sound
			c.SoundLost += int64(sound) - int64(a.sound-z.sound)
		}
		due := m.sent[v.stream] - before.sent[v.stream]
		c.Due += due
		c.Delivered += got
		c.Worst = max(c.Worst, int64(due)-int64(got))
		c.Duplicates += a.duplicates - z.duplicates
		c.Reordered += a.reordered - z.reordered
		c.Corrupt += a.corrupt - z.corrupt
		c.GeneratorDrops += a.overflow - z.overflow
		c.Frames.add(a.frames, z.frames)
	}
	c.Lost = int64(c.Due) - int64(c.Delivered)
	if m.dropped != before.dropped {
		c.Worst = 0 // nobody knows whose they were
	}
	return c
}

func (h *histogram) summary() Latency {
	return Latency{
		Mean: ms(h.mean()), P50: ms(h.quantile(0.5)), P90: ms(h.quantile(0.9)), P99: ms(h.quantile(0.99)),
		P999: ms(h.quantile(0.999)), Max: ms(h.max), CDF: h.cdf(),
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
