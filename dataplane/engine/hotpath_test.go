package engine_test

import (
	"encoding/binary"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/srtp"
	"sluice/dataplane/wire"
)

// burst is a publisher and viewers whose datagrams are made ahead, so that only
// the engines' work is measured: video of 9 packets of 1150 bytes a frame.
type burst struct {
	t       testing.TB
	engines []*engine.Engine
	tx      *pkt.Batch
	now     clock.Time
	rx      []pkt.Datagram
	relay   engine.Relay
	data    [2048]byte

	publisher burstPeer
	viewers   []burstPeer
	seq       uint64
	ssrc      uint32 // that the publisher sends with
	packets   int    // sent by the engines
	runs      int    // that they were in
	frameSize int
	shorter   []int              // by how much packets of a frame are shorter than the others
	seen      func(run *pkt.Run) // nil, or takes what the engines send
}

type burstPeer struct {
	id         msg.SessionID
	path       pkt.Path
	ufrag, pwd string
	cipher     *srtp.Context
	first      uint16 // sequence number of the first packet that was sent to it
	any        bool
	reports    uint32
}

const (
	burstRoute     = msg.RouteID(1)
	burstSSRC      = 1000
	burstViewerPT  = 100
	burstRTXPT     = 101
	packetsInFrame = 9
)

// newBurst returns keyed sessions: viewers alternate between the shards, the
// publisher is on shard 0.
func newBurst(t testing.TB, shards, viewers int) *burst {
	b := newPublished(t, shards, viewers+2, msg.Feedback{NACK: true, PLI: true, TransportCC: true})
	for i := range viewers {
		b.watch(i % shards)
	}
	return b
}

// newPublished returns a keyed publisher that agreed on some feedback, and room
// for so many sessions.
func newPublished(t testing.TB, shards, sessions int, feedback msg.Feedback) *burst {
	b := &burst{t: t, tx: pkt.NewBatch(make([]byte, 256<<10), 256), now: clock.Time(time.Second), seq: 100, ssrc: burstSSRC, frameSize: packetsInFrame}
	all := uint64(1)<<shards - 1
	for i := range shards {
		e := engine.New(engine.Config{Shard: i, Shards: shards, Sessions: sessions, Streams: 4, Seed: 1, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
		e.HandleCommand(b.now, msg.AddRoute{Route: burstRoute, Kind: msg.Video, Codec: codec.VP8, ClockRate: 90000, Home: 0, Shards: all})
		b.engines = append(b.engines, e)
	}
	receive := msg.Receive{
		Route: burstRoute, Kind: msg.Video, Codec: codec.VP8, ClockRate: 90000, PT: videoPT, RTXPT: videoRTXPT, SSRC: burstSSRC, RTXSSRC: burstSSRC + 1,
		Feedback: feedback,
	}
	receive.ExtIDs[wire.ExtTransportCC] = twccExt
	b.publisher = b.join(0, 0, msg.AddSession{Receive: []msg.Receive{receive}})
	return b
}

// watch adds a viewer.
func (b *burst) watch(shard int) {
	n := len(b.viewers) + 1
	b.viewers = append(b.viewers, b.join(shard, n, msg.AddSession{Send: []msg.Send{{
		Route: burstRoute, Kind: msg.Video, ClockRate: 90000, PT: burstViewerPT, SSRC: uint32(n), RTXPT: burstRTXPT, RTXSSRC: uint32(n) << 16,
		Feedback: msg.Feedback{NACK: true, PLI: true},
	}}}))
}

func (b *burst) join(shard, n int, add msg.AddSession) burstPeer {
	var random [ice.RandomLen]byte
	random[0], random[1] = byte(n), byte(n>>6)
	p := burstPeer{id: msg.NewSessionID(shard, uint64(n+1)), path: pkt.Path{Remote: pkt.Addr{IP: [16]byte{14: byte(n >> 8), 15: byte(n)}, Port: 7}, Local: local}}
	p.ufrag, p.pwd = ice.NewUfrag(shard, &random)
	add.ID, add.Ufrag, add.Pwd = p.id, p.ufrag, p.pwd
	keys := msg.Keys{Profile: msg.ProfileAES128GCM, Local: msg.MasterKey{Key: [32]byte{byte(n), 1}}, Remote: msg.MasterKey{Key: [32]byte{byte(n), 2}}}
	var err error
	if p.cipher, err = srtp.NewContext(&msg.Keys{Profile: keys.Profile, Local: keys.Remote, Remote: keys.Local}, &srtp.Scratch{}); err != nil {
		b.t.Fatal(err)
	}
	b.engines[shard].HandleCommand(b.now, add)
	b.handle(shard, []pkt.Datagram{p.check(1)})
	b.engines[shard].HandleCommand(b.now, msg.InstallKeys{ID: p.id, Path: p.path, Keys: keys})
	b.drain()
	return p
}

func (p *burstPeer) check(serial uint64) pkt.Datagram {
	return pkt.Datagram{Path: p.path, Data: bindingRequest(p.ufrag, p.pwd, serial)}
}

// frame returns the datagrams of the next frame.
func (b *burst) frame(key bool) (frame []pkt.Datagram) {
	for i := range b.frameSize {
		m := make([]byte, 12+8+1150+srtp.MaxOverhead)
		m[0], m[1] = 0x90, videoPT
		if i == b.frameSize-1 {
			m[1] |= 0x80
		}
		binary.BigEndian.PutUint16(m[2:], uint16(b.seq))
		binary.BigEndian.PutUint32(m[4:], uint32(b.seq/packetsInFrame)*3000)
		binary.BigEndian.PutUint32(m[8:], b.ssrc)
		copy(m[12:], []byte{0xbe, 0xde, 0, 1, twccExt<<4 | 1, byte(b.seq >> 8), byte(b.seq), 0})
		m[20], m[21] = 0x00, 0x01
		if i == 0 {
			m[20] = 0x10
			if key {
				m[21] = 0x00
			}
		}
		size := 20 + 1150
		if i < len(b.shorter) {
			size -= b.shorter[i]
		}
		n := b.publisher.cipher.ProtectRTP(m, 20, m[20:size], b.ssrc, b.seq)
		b.seq++
		frame = append(frame, pkt.Datagram{Path: b.publisher.path, Arrived: b.now, Data: m[:n]})
	}
	return frame
}

// rtcp returns a compound of a peer.
func (p *burstPeer) rtcp(ssrc uint32, compound []byte) pkt.Datagram {
	p.reports++
	room := append(compound, make([]byte, srtp.MaxOverhead)...)
	n := p.cipher.ProtectRTCP(room, len(compound), ssrc, p.reports)
	return pkt.Datagram{Path: p.path, Data: room[:n]}
}

// nack asks for packets of a stream again.
func (p *burstPeer) nack(media uint32, lost ...uint16) pkt.Datagram {
	return p.rtcp(77, wire.AppendNACK(wire.AppendReceiverReport(nil, 77, nil), 77, media, lost))
}

func (b *burst) handle(shard int, rx []pkt.Datagram) {
	for i := range rx {
		rx[i].Arrived = b.now
	}
	b.engines[shard].HandleDatagrams(b.now, rx)
	b.drain()
}

// drain takes what the engines have, and brings each what the others tell it.
func (b *burst) drain() {
	for from, e := range b.engines {
		b.transmit(e)
		for to, other := range b.engines {
			for to != from && e.PollRelay(to, &b.relay) {
				b.relay.Data = b.data[:copy(b.data[:], b.relay.Data)]
				other.HandleRelay(b.now, from, &b.relay)
			}
			b.transmit(other)
		}
		var ev msg.Event
		for e.PollEvent(&ev) {
		}
	}
}

func (b *burst) transmit(e *engine.Engine) {
	for more := true; more; {
		more = e.PollTransmit(b.tx)
		for i := range b.tx.Runs() {
			run := &b.tx.Runs()[i]
			b.packets += run.Packets()
			b.runs++
			b.note(run)
			if b.seen != nil {
				b.seen(run)
			}
		}
		b.tx.Reset()
		e.HandleSent(b.now.Add(time.Millisecond))
	}
}

// note remembers where each viewer's numbers start.
func (b *burst) note(run *pkt.Run) {
	n := int(run.Path.Remote.IP[14])<<8 | int(run.Path.Remote.IP[15])
	if data := b.tx.Bytes(run); n > 0 && n <= len(b.viewers) && !b.viewers[n-1].any && wire.Classify(data) == wire.ProtoRTP {
		b.viewers[n-1].any, b.viewers[n-1].first = true, binary.BigEndian.Uint16(data[2:])
	}
}

func (b *burst) timers() {
	for _, e := range b.engines {
		if b.now >= e.PollTimeout() {
			e.HandleTimeout(b.now)
		}
	}
	b.drain()
}

// TestHotPathAllocatesNothing mixes what happens in steady state: media with a
// hole that a retransmission fills, fan-out to viewers on two shards, relays of
// media and of datagrams that land on the wrong shard, NACKs answered over RTX,
// sender and receiver reports, keyframe requests, checks, and all timers.
func TestHotPathAllocatesNothing(t *testing.T) {
	const viewers, rounds, warm = 10, 220, 100
	b := newBurst(t, 2, viewers)
	b.handle(0, b.frame(true))
	type round struct{ home, away, late []pkt.Datagram }
	var all []round
	for i := range rounds {
		var r round
		frame := b.frame(i%50 == 0)
		lost := b.seq - 4
		for j := range frame {
			if j != len(frame)-4 {
				r.home = append(r.home, frame[j])
			}
		}
		r.late = append(r.late, b.resend(lost, uint64(200+i)))
		r.home = append(r.home, b.publisher.check(uint64(i)), b.publisher.rtcp(burstSSRC, wire.AppendSenderReport(nil, &wire.SenderReport{
			SSRC: burstSSRC, NTP: ntpOrigin.Add(time.Duration(i) * 40 * time.Millisecond), RTP: uint32(b.seq) * 300,
		})))
		for j := range b.viewers {
			v := &b.viewers[j]
			to := &r.home
			if (i+j)%2 == 1 { // half of the time on the other shard than the viewer's
				to = &r.away
			}
			compound := wire.AppendReceiverReport(nil, 77, []wire.ReportBlock{{SSRC: uint32(j + 1), LSR: 1}, {SSRC: 99}})
			compound = wire.AppendNACK(compound, 77, uint32(j+1), []uint16{v.first + uint16(9*i), v.first + uint16(9*i) + 2})
			compound = wire.AppendPLI(compound, 77, uint32(j+1))
			*to = append(*to, v.check(uint64(i)), v.rtcp(77, compound))
		}
		all = append(all, r)
	}
	next := 0
	step := func() {
		r := &all[next]
		next++
		b.now = b.now.Add(20 * time.Millisecond)
		b.handle(0, r.home)
		b.handle(1, r.away)
		b.now = b.now.Add(20 * time.Millisecond) // the hole is no mere reordering
		b.timers()
		b.handle(0, r.late)
	}
	for range warm {
		step()
	}
	var before [2]engine.Counters
	for i, e := range b.engines {
		before[i] = e.Counters
	}
	if allocs := testing.AllocsPerRun(rounds-warm-2, step); allocs != 0 {
		t.Errorf("%v allocations in a turn", allocs)
	}
	for i, e := range b.engines {
		c, o := &e.Counters, &before[i]
		did := map[string]uint64{
			"forwarded": c.Forwarded - o.Forwarded, "resent": c.Resent - o.Resent, "checks": c.Checks - o.Checks,
			"keyframe requests in": c.PLIIn - o.PLIIn, "misplaced": c.Misplaced - o.Misplaced,
		}
		if i == 0 {
			did["repaired"], did["relayed"], did["nacks out"] = c.Repaired-o.Repaired, c.Relayed-o.Relayed, c.NACKOut-o.NACKOut
			did["keyframe requests out"] = c.PLIOut - o.PLIOut
		}
		for what, n := range did {
			if n == 0 {
				t.Errorf("shard %d: nothing was %s", i, what)
			}
		}
		for d := wire.DropEmpty; d < wire.NumDrop; d++ {
			if c.Drops[d] != o.Drops[d] {
				t.Errorf("shard %d: %d dropped: %v", i, c.Drops[d]-o.Drops[d], d)
			}
		}
	}
}

// resend returns the retransmission of a packet that was lost.
func (b *burst) resend(seq, rtxSeq uint64) pkt.Datagram {
	m := make([]byte, 12+2+1150+srtp.MaxOverhead)
	m[0], m[1] = 0x80, videoRTXPT
	binary.BigEndian.PutUint16(m[2:], uint16(rtxSeq))
	binary.BigEndian.PutUint32(m[4:], uint32(seq/packetsInFrame)*3000)
	binary.BigEndian.PutUint32(m[8:], burstSSRC+1)
	binary.BigEndian.PutUint16(m[12:], uint16(seq))
	m[14], m[15] = 0x00, 0x01
	n := b.publisher.cipher.ProtectRTP(m, 12, m[12:14+1150], burstSSRC+1, rtxSeq)
	return pkt.Datagram{Path: b.publisher.path, Data: m[:n]}
}

// BenchmarkFanOut measures an engine without sockets: a frame of 9 packets of
// 1150 bytes comes in and goes out to 100 viewers.
func BenchmarkFanOut(b *testing.B) { benchmarkFanOut(b, 100) }

// BenchmarkFanOutToFew has as many viewers as perf/instructions can step through.
func BenchmarkFanOutToFew(b *testing.B) { benchmarkFanOut(b, 20) }

// BenchmarkFanOutToMany has more viewers than the second-level cache has room for.
func BenchmarkFanOutToMany(b *testing.B) { benchmarkFanOut(b, 4000) }

func benchmarkFanOut(b *testing.B, viewers int) {
	f := newBurst(b, 1, viewers)
	f.handle(0, f.frame(true))
	f.packets = 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		frame := f.frame(false)
		f.now = f.now.Add(33 * time.Millisecond)
		for i := range frame {
			frame[i].Arrived = f.now
		}
		b.StartTimer()
		f.engines[0].HandleDatagrams(f.now, frame)
		f.transmit(f.engines[0])
	}
	b.StopTimer()
	if f.packets < b.N*packetsInFrame*viewers {
		b.Fatalf("%d packets sent, want %d", f.packets, b.N*packetsInFrame*viewers)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(f.packets), "ns/packet")
}
