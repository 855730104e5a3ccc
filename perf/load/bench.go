// Package load puts one publisher and many viewers on a WHIP/WHEP server and counts what arrives.
//
// Every viewer is a real client (package client). Full viewers decrypt each packet and follow the markers in it: loss, duplicates,
// order, and latency from the send stamp to the kernel's receive stamp, which share one clock. The other viewers decrypt up to
// their first keyframe; then the kernel discards and counts their RTP, so that they cost the machine next to nothing.
//
// Counts are exact, not sampled: before and after a window the publisher holds still until nothing arrives any more, so what was
// sent in a window and what was delivered from it are the same packets.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"sluice/perf/client"
	"sluice/perf/proc"
)

// Bench is a running publisher and its viewers. Join and Leave may be called concurrently, windows and pauses must not
// overlap.
type Bench struct {
	target  Target
	http    *http.Client
	hub     *hub
	pub     *publisher
	latency latencies
}

// Viewer is one subscriber of a Bench.
type Viewer struct{ *viewer }

// Target is the server under load.
type Target struct {
	WHIP, WHEP string // endpoint URLs of one stream
	PID        int    // of the server on this machine; 0: its cost is not measured
	MID        bool   // viewers offer the sdes:mid header extension
}

// Open connects a publisher and lets it send.
func Open(ctx context.Context, t Target, media Media) (*Bench, error) {
	if err := media.check(); err != nil {
		return nil, err
	}
	h, err := newHub()
	if err != nil {
		return nil, err
	}
	b := &Bench{target: t, hub: h, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}
	if b.pub, err = publish(ctx, b.http, h, t.WHIP, media); err != nil {
		h.close()
		return nil, err
	}
	return b, nil
}

func (m Media) check() error {
	const smallest = 12 + 16 + descriptorSize + keyHeaderSize + markerSize
	switch {
	case m.FPS < 1 || m.FPS > 1000:
		return fmt.Errorf("fps %d: want 1 to 1000", m.FPS)
	case m.PPF < 1 || m.PPF > 1000:
		return fmt.Errorf("ppf %d: want 1 to 1000", m.PPF)
	case m.Size < smallest || m.Size > 1400:
		return fmt.Errorf("size %d: want %d to 1400 bytes", m.Size, smallest)
	case m.Spread < 0 || m.Spread > time.Second/time.Duration(m.FPS):
		return fmt.Errorf("spread %v: want 0 to %v, the time of a frame", m.Spread, time.Second/time.Duration(m.FPS))
	}
	return nil
}

// Join adds a viewer and returns when it has its keys. It tries again for as long as the context allows while the server says that
// the stream is not there yet (409 with Retry-After). A server that has not seen the first packets yet may need that.
func (b *Bench) Join(ctx context.Context, full bool) (*Viewer, error) {
	for {
		v, err := watch(ctx, b.http, b.hub, b.target, full, &b.latency)
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

// AwaitMedia waits until the viewer got a keyframe.
func (b *Bench) AwaitMedia(ctx context.Context, v *Viewer) error { return v.await(ctx) }

// Leave ends a viewer's session.
func (b *Bench) Leave(ctx context.Context, v *Viewer) error { return v.leave(ctx, b.hub) }

// Vanish takes a viewer away without a word to the server, as a browser that crashes does.
func (b *Bench) Vanish(v *Viewer) error { return v.vanish(b.hub) }

// CloseIdle closes idle HTTP connections, so that the server's count of descriptors shows sessions only.
func (b *Bench) CloseIdle() { b.http.CloseIdleConnections() }

// Close ends the publisher. Viewers must have left.
func (b *Bench) Close(ctx context.Context) error {
	b.pub.close()
	b.hub.remove(b.pub.conn)
	err := b.pub.conn.Close(ctx)
	b.hub.close()
	b.CloseIdle()
	return err
}

// Ended lists why the server ended the publisher's session or those of the viewers given; it is empty when all is well.
func (b *Bench) Ended(viewers []*Viewer) (reasons []string) {
	b.hub.locked(func() {
		if reason := b.pub.closed; reason != "" {
			reasons = append(reasons, "publisher: "+reason)
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
	sent    [kinds]uint64
	viewers []arrivals
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
	duplicates uint64
	reordered  uint64
	corrupt    uint64 // packets that did not decrypt or had no marker
	overflow   uint64 // lost by the generator itself
}

const (
	quiet     = 300 * time.Millisecond // nothing moves for this long: drained
	drainTime = 10 * time.Second       // an overloaded server may still have a backlog then
)

// hold pauses the publisher and takes a mark when all is quiet. On success the publisher stays paused.
func (b *Bench) hold(viewers []*Viewer) (mark, error) {
	if err := b.pub.pause(); err != nil {
		return mark{}, err
	}
	m, err := b.settle(viewers)
	if err == nil {
		m.usage, err = readUsage(b.target.PID)
	}
	if err != nil {
		b.pub.resume()
	}
	return m, err
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
	m.sent = b.pub.sent()
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
	a.corrupt = uint64(v.undecrypted + v.unmarked)
	return a, nil
}
