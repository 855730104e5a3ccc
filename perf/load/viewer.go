package load

import (
	"context"
	"fmt"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"golang.org/x/sys/unix"

	"sluice/perf/client"
	"sluice/perf/lab"
)

// latencies collects the delays of packets while measuring is on. The hub's lock guards it.
type latencies struct {
	measuring bool
	hist      histogram
}

// viewer is one subscriber. It decrypts everything until its first keyframe; then a viewer that is not full leaves RTP to the
// kernel's filter. Its fields below conn are owned by the hub.
type viewer struct {
	conn   *client.Conn
	full   bool
	stream int   // that it watches
	ppf    int   // packets in each frame of it; 0: audio alone
	posted int64 // CLOCK_REALTIME when the POST began, ns
	ready  chan struct{}

	shared      *latencies
	firstVideo  int64 // kernel receive time of the first video packet, ns; 0: none yet
	firstKey    int64
	filtered    bool
	base        uint32 // drop counter when the filter took over
	read        uint64 // RTP packets that came through to us
	streams     [kinds]tracker
	frames      frames
	ssrcs       [kinds]uint32
	highest     [kinds]uint32 // RTP sequence number, extended
	header      rtp.Header
	plain       []byte
	undecrypted int // packets that failed SRTP
	unmarked    int // packets without a marker
	reported    time.Time
	closed      string
}

// watch joins a stream as a viewer.
func (b *Bench) watch(ctx context.Context, stream int, full bool) (*viewer, error) {
	h, t := b.hub, b.target
	v := &viewer{
		full: full, stream: stream, posted: now(unix.CLOCK_REALTIME), ready: make(chan struct{}),
		shared: &b.latency, plain: make([]byte, 0, 2048),
	}
	if b.media.FPS > 0 {
		v.ppf = b.media.PPF
	}
	o := client.Offer{MID: t.MID, TCP: t.TCP}
	if t.Drop != nil {
		o.Local = lab.Viewers
		if full {
			o.Local = lab.Sampled
		}
	}
	conn, err := dial(ctx, b.http, t, t.whep(stream, b.media.Streams), b.media, o)
	if err != nil {
		return nil, err
	}
	v.conn = conn
	if full {
		err = conn.GrowBuffer()
	}
	if err == nil {
		err = h.add(conn, v)
	}
	if err != nil {
		v.leave(ctx, h)
		return nil, err
	}
	return v, nil
}

// leave ends the session.
func (v *viewer) leave(ctx context.Context, h *hub) error {
	h.remove(v.conn)
	return v.conn.Close(ctx)
}

// vanish closes the socket and tells the server nothing.
func (v *viewer) vanish(h *hub) error {
	h.remove(v.conn)
	return v.conn.Abandon()
}

// await waits for the viewer's first keyframe.
func (v *viewer) await(ctx context.Context) error {
	select {
	case <-v.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("viewer at %s got no keyframe: %w", v.conn.Local, ctx.Err())
	}
}

// delivered is how many RTP packets reached the viewer's socket since it joined. A full viewer's buffer overflow does not count,
// it is the generator's own loss.
func (v *viewer) delivered() (uint64, error) {
	if !v.filtered {
		return v.read, nil
	}
	drops, err := v.conn.Drops()
	return v.read + uint64(drops-v.base), err
}

// overflow is how many datagrams a full viewer lost because the generator was too slow to read them.
func (v *viewer) overflow() (uint64, error) {
	if v.filtered {
		return 0, nil
	}
	drops, err := v.conn.Drops()
	return uint64(drops), err
}

func (v *viewer) rtp(p []byte, at int64) {
	v.read++
	plain, err := v.conn.In.DecryptRTP(v.plain[:0], p, &v.header)
	if err != nil {
		v.undecrypted++
		return
	}
	v.plain = plain
	size, err := v.header.Unmarshal(plain)
	if err != nil {
		v.undecrypted++
		return
	}
	v.note()
	v.markers(plain[size:], at)
	if v.header.PayloadType == client.VideoPT || v.ppf == 0 {
		v.onMedia(plain[size:], at)
	}
	v.maybeReport()
}

// note keeps what a receiver report says about the stream: its SSRC and the sequence number with its cycles.
func (v *viewer) note() {
	k := audio
	if v.header.PayloadType == client.VideoPT {
		k = video
	}
	if v.ssrcs[k] != v.header.SSRC {
		v.ssrcs[k], v.highest[k] = v.header.SSRC, uint32(v.header.SequenceNumber)
	}
	v.highest[k] += uint32(max(int16(v.header.SequenceNumber-uint16(v.highest[k])), 0))
}

func (v *viewer) markers(payload []byte, at int64) {
	m, rest, ok := findMarker(payload)
	if !ok {
		v.unmarked++
	}
	for ; ok; m, rest, ok = findMarker(rest) {
		v.streams[m.kind].add(m.seq)
		if m.kind == video && v.ppf > 0 {
			v.frames.add(m.seq, v.ppf)
		}
		if v.full && v.shared.measuring {
			v.shared.hist.add(time.Duration(at - m.stamp))
		}
	}
}

// onMedia takes video packets, or audio where there is no video, and looks out for the first one and the first keyframe.
func (v *viewer) onMedia(payload []byte, at int64) {
	if v.firstVideo == 0 {
		v.firstVideo = at
	}
	if v.firstKey != 0 || v.ppf > 0 && !startsKeyframe(payload) {
		return
	}
	v.firstKey = at
	close(v.ready)
	if !v.full {
		v.filter()
	}
}

// filter hands RTP over to the kernel. Packets that are queued already still come through rtp.
func (v *viewer) filter() {
	if !v.conn.CanFilter() {
		return
	}
	base, err := v.conn.Drops()
	if err == nil {
		err = v.conn.FilterRTP()
	}
	if err != nil {
		v.ended(err.Error())
		return
	}
	v.base, v.filtered = base, true
}

// maybeReport sends a receiver report without loss once a second, as a viewer in good health does.
func (v *viewer) maybeReport() {
	t := time.Now()
	if !v.full || t.Sub(v.reported) < reportEvery {
		return
	}
	v.reported = t
	report := rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{
		{SSRC: v.ssrcs[audio], LastSequenceNumber: v.highest[audio]},
		{SSRC: v.ssrcs[video], LastSequenceNumber: v.highest[video]},
	}}
	plain, err := report.Marshal()
	if err != nil {
		return
	}
	if protected, err := v.conn.Out.EncryptRTCP(nil, plain, nil); err == nil {
		v.conn.Send(protected)
	}
}

func (v *viewer) rtcp([]byte) {}

func (v *viewer) ended(reason string) {
	if v.closed == "" {
		v.closed = reason
	}
}
