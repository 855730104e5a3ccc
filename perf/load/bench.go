// Package load puts publishers, most often one, and many viewers on a WHIP/WHEP server and counts what arrives.
//
// Every viewer is a real client (package client). Full viewers decrypt each packet and follow the markers in it: loss, duplicates,
// order, and latency from the send stamp to the kernel's receive stamp, which share one clock. The other viewers decrypt up to
// their first keyframe; then the kernel discards and counts their RTP, so that they cost the machine next to nothing.
//
// Counts are exact, not sampled: before and after a window the publishers hold still until nothing arrives any more, so what was
// sent in a window and what was delivered from it are the same packets.
//
// With a Drop in the target, the media of all but the full viewers is discarded and counted where it leaves the server.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/netopt/host"
	"sluice/perf/client"
	"sluice/perf/proc"
)

// Bench is running publishers and their viewers. Join and Leave may be called concurrently, windows, pauses and changes of
// the rate must not overlap.
type Bench struct {
	target  Target
	media   Media
	http    *http.Client
	hub     *hub
	pubs    []*publisher
	pacer   *pacer
	joined  atomic.Int64 // viewers so far; they take the streams in turn
	latency latencies
}

// Viewer is one subscriber of a Bench.
type Viewer struct{ *viewer }

// Target is the server under load.
type Target struct {
	WHIP, WHEP string // endpoint URLs of one stream; with several streams a number follows
	PID        int    // of the server on this machine; 0: its cost is not measured
	MID        bool   // viewers offer the sdes:mid header extension
	CM         bool   // agree on AES128_CM_HMAC_SHA1_80
	TCP        bool   // viewers connect by ICE-TCP; they are all full then
	TCPPublish bool   // publishers do
	Bare       bool   // the server is a yardstick
	Drop       Drop   // discards media on its way; nil: it arrives

	Inside func() (Inside, error) // what the server tells of itself; nil: nothing
}

// Drop discards RTP and RTCP to chosen addresses on its way to them, and counts the RTP (lab.Lab, drop.Drop).
type Drop interface {
	Add(to netip.Addr) error
	Remove(to netip.Addr) error
	Packets() (uint64, error)
}

func (t Target) whip(stream, streams int) string { return numbered(t.WHIP, stream, streams) }
func (t Target) whep(stream, streams int) string { return numbered(t.WHEP, stream, streams) }

func numbered(url string, stream, streams int) string {
	if streams == 1 {
		return url
	}
	return url + strconv.Itoa(stream)
}

// Quiet keeps the Go runtime of this process from interrupting the server, with which it shares the machine: its monitor wakes once a
// second (host.RelaxMonitor). Hub, pacer and whoever waits for a process keep a processor (P) each while they block, which the monitor
// would take from them, so there are that many more. It is for one bench at a time.
func Quiet() {
	const blocked = 4
	runtime.GOMAXPROCS(runtime.NumCPU() + blocked)
	host.RelaxMonitor()
}

// Open connects the publishers and lets them send.
func Open(ctx context.Context, t Target, media Media) (*Bench, error) {
	if err := media.check(); err != nil {
		return nil, err
	}
	h, err := newHub()
	if err != nil {
		return nil, err
	}
	media.Streams = max(media.Streams, 1)
	b := &Bench{target: t, media: media, hub: h, pacer: newPacer(), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: stormJoins}}}
	b.pubs = make([]*publisher, media.Streams)
	err = each(parallelJoins, indices(media.Streams), func(i int) (err error) {
		b.pubs[i], err = publish(ctx, b.http, h, b.pacer, t, t.whip(i, media.Streams), media)
		return err
	})
	// Nobody sends before all are in, so that many publishers do not keep the last ones out.
	b.pubs = slices.DeleteFunc(b.pubs, func(p *publisher) bool { return p == nil })
	for i, p := range b.pubs {
		p.phase = media.period() * time.Duration(i) / time.Duration(len(b.pubs))
	}
	if err != nil {
		b.Close(ctx)
		return nil, err
	}
	b.pacer.start(slices.Clone(b.pubs))
	return b, nil
}

// period is the time from frame to frame; of audio, from packet to packet.
func (m Media) period() time.Duration {
	if m.FPS == 0 {
		return audioPeriod
	}
	return time.Second / time.Duration(m.FPS)
}

func (m Media) check() error {
	const smallest = 12 + 16 + descriptorSize + keyHeaderSize + markerSize
	switch {
	case m.FPS < 0 || m.FPS > 1000:
		return fmt.Errorf("fps %d: want 1 to 1000, or 0 for audio alone", m.FPS)
	case m.FPS == 0 && m.Silent:
		return errors.New("neither audio nor video: want one of them")
	case m.FPS == 0:
		return nil
	case m.Streams < 0 || m.Streams > 10000:
		return fmt.Errorf("streams %d: want 1 to 10000", m.Streams)
	case m.PPF < 1 || m.PPF > 1000:
		return fmt.Errorf("ppf %d: want 1 to 1000", m.PPF)
	case m.Trains && m.PPF > 64:
		return fmt.Errorf("ppf %d: want 64 at most of what leaves as one message", m.PPF)
	case m.Size < smallest || m.Size > 1400:
		return fmt.Errorf("size %d: want %d to 1400 bytes", m.Size, smallest)
	case m.Spread < 0 || m.Spread > m.period():
		return fmt.Errorf("spread %v: want 0 to %v, the time of a frame", m.Spread, m.period())
	}
	return nil
}

// Join adds a viewer and returns when it has its keys. It tries again for as long as the context allows while the server says that
// the stream is not there yet (409 with Retry-After). A server that has not seen the first packets yet may need that.
func (b *Bench) Join(ctx context.Context, full bool) (*Viewer, error) {
	stream := int(b.joined.Add(1)-1) % len(b.pubs)
	for {
		v, err := b.watch(ctx, stream, full)
		if err == nil {
			return &Viewer{v}, nil
		}
		var refusal *client.StatusError
		if !errors.As(err, &refusal) || refusal.Code != http.StatusConflict {
			return nil, err
		}
		seconds, err := strconv.Atoi(refusal.RetryAfter)
		if err != nil {
			return nil, refusal
		}
		select {
		case <-ctx.Done():
			return nil, refusal
		case <-time.After(time.Duration(seconds) * time.Second):
		}
	}
}

// JoinAll adds viewers, of whom some are full, while the publishers hold still, and returns when all have media.
func (b *Bench) JoinAll(ctx context.Context, n, full int) ([]*Viewer, error) {
	if err := b.pacer.pause(); err != nil {
		return nil, err
	}
	viewers := make([]*Viewer, n)
	err := each(parallelJoins, indices(n), func(i int) (err error) {
		ctx, cancel := context.WithTimeout(ctx, joinTimeout)
		defer cancel()
		viewers[i], err = b.Join(ctx, IsFull(i, full, n))
		return err
	})
	b.pacer.resume()
	viewers = slices.DeleteFunc(viewers, func(v *Viewer) bool { return v == nil })
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, mediaTimeout)
		defer cancel()
		err = each(1, viewers, func(v *Viewer) error { return b.AwaitMedia(ctx, v) })
	}
	if err != nil {
		b.LeaveAll(ctx, viewers)
	}
	return viewers, err
}

// LeaveAll ends the sessions of viewers.
func (b *Bench) LeaveAll(ctx context.Context, viewers []*Viewer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), joinTimeout)
	defer cancel()
	return each(parallelJoins, viewers, func(v *Viewer) error { return b.Leave(ctx, v) })
}

// AwaitMedia waits until the viewer got a keyframe.
func (b *Bench) AwaitMedia(ctx context.Context, v *Viewer) error { return v.await(ctx) }

// Publisher is the connection of the first publisher, to be looked at: its addresses and what the server answered are what an attacker
// on the way would know.
func (b *Bench) Publisher() *client.Conn { return b.pubs[0].conn }

// Leave ends a viewer's session.
func (b *Bench) Leave(ctx context.Context, v *Viewer) error { return v.leave(ctx, b.hub) }

// Vanish takes a viewer away without a word to the server, as a browser that crashes does.
func (b *Bench) Vanish(v *Viewer) error { return v.vanish(b.hub) }

// CloseIdle closes idle HTTP connections, so that the server's count of descriptors shows sessions only.
func (b *Bench) CloseIdle() { b.http.CloseIdleConnections() }

// Close ends the publishers. Viewers must have left.
func (b *Bench) Close(ctx context.Context) error {
	b.pacer.close()
	err := each(parallelJoins, b.pubs, func(p *publisher) error {
		b.hub.remove(p.conn)
		return p.conn.Close(ctx)
	})
	b.hub.close()
	b.CloseIdle()
	return err
}

// Ended lists why the server ended the publishers' sessions or those of the viewers given; it is empty when all is well.
func (b *Bench) Ended(viewers []*Viewer) (reasons []string) {
	b.hub.locked(func() {
		for i, p := range b.pubs {
			if p.closed != "" {
				reasons = append(reasons, fmt.Sprintf("publisher %d: %s", i, p.closed))
			}
		}
		for i, v := range viewers {
			if v.closed != "" {
				reasons = append(reasons, fmt.Sprintf("viewer %d: %s", i, v.closed))
			}
		}
	})
	return reasons
}

// mark is what has been sent and what has arrived at a moment when nothing is on its way.
type mark struct {
	sent    []uint64 // by each publisher
	sound   []uint64 // of these, audio packets
	viewers []arrivals
	dropped uint64 // on their way, by Target.Drop
	usage   usage
}

// usage is the CPU time used until a moment.
type usage struct {
	at          time.Time
	server, own proc.CPU
	machine     time.Duration
}

// arrivals are one viewer's counters.
type arrivals struct {
	delivered  uint64
	unique     uint64 // full viewers: markers
	sound      uint64 // of these, in audio packets
	duplicates uint64
	reordered  uint64
	corrupt    uint64 // packets that did not decrypt or had no marker
	overflow   uint64 // lost by the generator itself
	frames     frames
}

const (
	quiet     = 300 * time.Millisecond // nothing moves for this long: drained
	drainTime = 10 * time.Second       // an overloaded server may still have a backlog then
)

// hold pauses the publishers and takes a mark when all is quiet. On success the publishers stay paused.
func (b *Bench) hold(viewers []*Viewer) (mark, error) {
	if err := b.pacer.pause(); err != nil {
		return mark{}, err
	}
	m, err := b.settle(viewers)
	if err == nil {
		m.usage, err = readUsage(b.target.PID)
	}
	if err != nil {
		b.pacer.resume()
	}
	return m, err
}

// SetFPS changes the rate of frames, of those who published some before.
func (b *Bench) SetFPS(fps int) error {
	b.media.FPS = fps
	if err := b.media.check(); err != nil {
		return err
	}
	if err := b.pacer.pause(); err != nil {
		return err
	}
	for _, p := range b.pubs {
		p.media.FPS = fps
	}
	b.pacer.resume()
	return nil
}

func readUsage(pid int) (u usage, err error) {
	u.at = time.Now()
	if u.own, err = proc.ReadCPU(os.Getpid()); err != nil {
		return u, err
	}
	if u.machine, err = proc.MachineCPU(); err != nil || pid == 0 {
		return u, err
	}
	u.server, err = proc.ReadCPU(pid)
	return u, err
}

// settle waits, with the publisher paused, until no counter moves any more.
func (b *Bench) settle(viewers []*Viewer) (mark, error) {
	deadline := time.Now().Add(drainTime)
	last, err := b.read(viewers)
	for since := time.Now(); err == nil && time.Since(since) < quiet && time.Now().Before(deadline); {
		time.Sleep(quiet / 10)
		var m mark
		if m, err = b.read(viewers); err == nil && m.delivered() != last.delivered() {
			last, since = m, time.Now()
		}
	}
	return last, err
}

func (b *Bench) read(viewers []*Viewer) (m mark, err error) {
	for _, p := range b.pubs {
		m.sent = append(m.sent, p.sent())
		m.sound = append(m.sound, p.streams[audio].sent.Load())
	}
	if b.target.Drop != nil {
		if m.dropped, err = b.target.Drop.Packets(); err != nil {
			return m, err
		}
	}
	m.viewers = make([]arrivals, len(viewers))
	b.hub.locked(func() {
		for i, v := range viewers {
			if m.viewers[i], err = v.arrivals(); err != nil {
				return
			}
		}
	})
	return m, err
}

func (m mark) delivered() (n uint64) {
	n = m.dropped
	for _, a := range m.viewers {
		n += a.delivered
	}
	return n
}

func (v *viewer) arrivals() (a arrivals, err error) {
	if a.delivered, err = v.delivered(); err != nil {
		return a, err
	}
	if a.overflow, err = v.overflow(); err != nil {
		return a, err
	}
	for k := range v.streams {
		a.unique += v.streams[k].unique
		a.duplicates += v.streams[k].duplicates
		a.reordered += v.streams[k].reordered
	}
	a.sound = v.streams[audio].unique
	a.corrupt = uint64(v.undecrypted + v.unmarked)
	a.frames = v.frames
	return a, nil
}
