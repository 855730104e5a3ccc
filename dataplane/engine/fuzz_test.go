package engine_test

import (
	"bytes"
	"slices"
	"strconv"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/srtp"
	"sluice/dataplane/wire"
)

// fuzzer drives two engines with what a byte string says, within the contract
// of commands: routes are there before sessions, keys are installed once.
type fuzzer struct {
	t       *testing.T
	script  []byte
	now     clock.Time
	engines [2]*engine.Engine
	tx      *pkt.Batch
	peers   [4]fuzzPeer
	serial  uint64
}

// fuzzPeer is a session with a client that knows its keys: what is hostile may
// be authentic.
type fuzzPeer struct {
	id    msg.SessionID
	there bool
	keyed bool
	keys  msg.Keys
	sends *srtp.Context
	index uint64
	rtcp  uint32
	path  pkt.Path
	ufrag string
	add   msg.AddSession
	moved *msg.SessionID // what it was before it moved to where its checks land
}

const fuzzRoute = msg.RouteID(9)

func (f *fuzzer) byte() byte {
	if len(f.script) == 0 {
		return 0
	}
	b := f.script[0]
	f.script = f.script[1:]
	return b
}

// bytes takes up to n bytes, filled up with zeros to n.
func (f *fuzzer) bytes(n int) []byte {
	b := make([]byte, n, n+srtp.MaxOverhead)
	f.script = f.script[copy(b, f.script):]
	return b
}

func ufragOf(shard, i int) string { return string(rune('A'+shard)) + "ufrag-" + string(rune('0'+i)) }

func (f *fuzzer) step() {
	op := f.byte()
	i := int(op>>4) % len(f.peers)
	p := &f.peers[i]
	shard := int(f.byte()) % 2 // where a datagram lands
	switch op & 0x0f {
	case 0:
		f.join(i, p)
	case 1:
		f.remove(p)
		p.there = false
	case 2:
		if p.there && !p.keyed {
			p.keyed = true
			f.command(p, msg.InstallKeys{ID: p.id, Path: p.path, Keys: p.keys})
		}
	case 3:
		f.serial++
		f.datagram(shard, p, bindingRequest(p.ufrag, "password", f.serial))
	case 4:
		f.around(i, p)
	case 5:
		f.now = f.now.Add(time.Duration(f.byte()) * 5 * time.Millisecond)
		for _, e := range f.engines {
			e.HandleTimeout(f.now)
		}
	case 6:
		f.now = f.now.Add(time.Duration(f.byte()) * time.Second / 4)
		for _, e := range f.engines {
			e.HandleTimeout(f.now)
		}
	case 7:
		f.datagram(shard, p, f.bytes(int(f.byte())))
	case 8, 9, 10:
		f.media(shard, p)
	case 11, 12:
		f.report(shard, p)
	case 13:
		f.engines[shard].HandleCommand(f.now, msg.Inject{Route: fuzzRoute + 1, Packet: f.bytes(int(f.byte()))})
	case 14:
		f.command(p, msg.SendDatagram{ID: p.id, Path: p.path, Data: f.bytes(int(f.byte()))})
	case 15:
		for i, e := range f.engines {
			f.route(i, e, int(op>>4)%2)
		}
	}
	f.drain()
}

// around changes what is around a peer: its address, its connection, its
// credentials, and what the engines were told.
func (f *fuzzer) around(i int, p *fuzzPeer) {
	v := f.byte()
	low, owner := v&7, f.engines[p.id.Shard()]
	switch v >> 3 & 7 {
	case 0:
		p.path.Remote.Port, p.path.Remote.Conn = uint16(low), 0
	case 1:
		p.path.Remote.Conn = uint32(low)
	case 2:
		if p.path.Remote.Stream() {
			owner.StreamWritable(f.now, p.path.Remote)
		}
	case 3:
		if p.path.Remote.Stream() {
			owner.StreamGone(f.now, p.path.Remote)
			p.path.Remote.Conn++ // the name of a connection that is gone does not come again
		}
	case 4:
		if p.there {
			f.serial++
			p.ufrag = ufragOf(p.id.Shard(), i) + strconv.Itoa(int(f.serial))
			f.command(p, msg.RestartICE{ID: p.id, Ufrag: p.ufrag, Pwd: "password"})
		}
	case 5:
		for _, e := range f.engines {
			e.SetSteering(low&1 != 0)
		}
	case 6:
		f.configure(low)
	case 7:
		f.command(p, msg.TuneRoute{Route: fuzzRoute, Tuning: msg.Tuning{
			Deadlines: msg.Deadlines{Budget: time.Duration(low&3) * time.Millisecond, LateDrop: time.Duration(low>>1) * time.Millisecond},
			GOPBytes:  int(low&1) - 1,
			Marked:    low&2 != 0, Class: low,
		}})
	}
}

// configure gives the engines settings that differ from the defaults by bits.
func (f *fuzzer) configure(bits byte) {
	set := engine.DefaultSettings()
	if bits&1 != 0 {
		set.MTU, set.TrainMax, set.TrainHold = 576, 2, 5*time.Millisecond
	}
	if bits&2 != 0 {
		set.GOPBytes, set.HistoryPackets, set.ResendPerSecond, set.ForgedPerSecond = 0, 64, 1, 1
	}
	if bits&4 != 0 {
		set.ShortTails, set.PadMax, set.StreamLag = true, 0, time.Millisecond
	}
	for _, e := range f.engines {
		e.Configure(set)
	}
}

func (f *fuzzer) route(i int, e *engine.Engine, home int) {
	e.HandleCommand(f.now, msg.AddRoute{Route: fuzzRoute, Kind: msg.Video, Codec: codec.H264, ClockRate: 90000, Home: home, Shards: 3})
	e.HandleCommand(f.now, msg.AddRoute{Route: fuzzRoute + 1, Kind: msg.Audio, Codec: codec.Opus, ClockRate: 48000, Home: home, Shards: 3})
}

func (f *fuzzer) command(p *fuzzPeer, c msg.Command) {
	f.engines[p.id.Shard()].HandleCommand(f.now, c)
}

// remove ends a session, and that its checks are passed on from where it was.
func (f *fuzzer) remove(p *fuzzPeer) {
	f.command(p, msg.RemoveSession{ID: p.id})
	if p.moved != nil {
		f.engines[p.moved.Shard()].HandleCommand(f.now, msg.ForwardChecks{Ufrag: p.add.Ufrag, Shard: p.moved.Shard()})
		p.moved = nil
	}
}

// landed answers as the control plane does: a publisher begins anew where its checks
// land, or the script leaves it where it is.
func (f *fuzzer) landed(ev msg.Landed) {
	to := ev.ID.Shard()
	at := slices.IndexFunc(f.peers[:], func(p fuzzPeer) bool { return p.there && p.id == ev.ID })
	if p := &f.peers[max(at, 0)]; at >= 0 && !p.keyed && p.moved == nil && f.byte()&1 == 0 {
		f.command(p, msg.RemoveSession{ID: p.id})
		to, p.moved = ev.Shard, &ev.ID
		f.serial++
		p.id = msg.NewSessionID(to, f.serial)
		p.add.ID = p.id
		f.command(p, p.add)
		f.engines[ev.ID.Shard()].HandleCommand(f.now, msg.ForwardChecks{Ufrag: p.add.Ufrag, Shard: to})
	}
	f.engines[to].HandleCommand(f.now, msg.TakeCheck{Check: ev.Check})
}

// join makes a session: an even one publishes, an odd one watches.
func (f *fuzzer) join(i int, p *fuzzPeer) {
	if p.there {
		f.remove(p)
	}
	f.serial++
	shard := int(f.byte()) % 2
	*p = fuzzPeer{id: msg.NewSessionID(shard, f.serial), there: true, path: p.path, ufrag: ufragOf(shard, i)}
	p.path.Remote.Conn = 0 // a connection belongs to one shard
	p.keys = msg.Keys{Profile: []msg.Profile{msg.ProfileAES128GCM, msg.ProfileAES128CMSHA180}[f.serial%2], Local: msg.MasterKey{Key: [32]byte{byte(f.serial)}}}
	var err error
	if p.sends, err = srtp.NewContext(&msg.Keys{Profile: p.keys.Profile, Local: p.keys.Remote, Remote: p.keys.Local}, &srtp.Scratch{}); err != nil {
		f.t.Fatal(err)
	}
	feedback := msg.Feedback{NACK: true, PLI: true, FIR: true, TransportCC: true}
	ids := wire.ExtIDs{wire.ExtMID: 1, wire.ExtTransportCC: 2, wire.ExtAudioLevel: 3, wire.ExtColorSpace: 4}
	add := msg.AddSession{ID: p.id, Ufrag: p.ufrag, Pwd: "password"}
	if i%2 == 0 {
		add.Receive = []msg.Receive{
			{Route: fuzzRoute, Kind: msg.Video, Codec: codec.H264, ClockRate: 90000, MID: "0", PT: 96, RTXPT: 97, ExtIDs: ids, Feedback: feedback},
			{Route: fuzzRoute + 1, Kind: msg.Audio, Codec: codec.Opus, ClockRate: 48000, MID: "1", PT: 111, ExtIDs: ids, Feedback: feedback},
		}
	} else {
		add.Send = []msg.Send{
			{Route: fuzzRoute, Kind: msg.Video, ClockRate: 90000, MID: "0", PT: 96, RTXPT: 97, SSRC: 1, RTXSSRC: 2, ExtIDs: ids, ExtMixed: true, Feedback: feedback},
			{Route: fuzzRoute + 1, Kind: msg.Audio, ClockRate: 48000, MID: "1", PT: 111, SSRC: 3, ExtIDs: ids, Feedback: feedback},
		}
	}
	p.add = add
	f.command(p, add)
}

// media sends an authentic packet whose header and payload the script wrote,
// maybe before the engine has the keys.
func (f *fuzzer) media(shard int, p *fuzzPeer) {
	if p.sends == nil {
		return
	}
	b := f.bytes(20 + int(f.byte()))
	b[0] = b[0]&0x3f | 0x80
	var h wire.RTP
	if !wire.ParseRTP(b, &h) {
		b[0] = 0x80
		wire.ParseRTP(b, &h)
	}
	p.index += uint64(b[2] & 3)
	b[2], b[3] = byte(p.index>>8), byte(p.index)
	b[8], b[9], b[10], b[11] = 0, 0, 0, b[11]&3+1
	if n := p.sends.ProtectRTP(b[:cap(b)], h.HeaderLen, b[h.HeaderLen:], uint32(b[11]), p.index); n > 0 {
		f.datagram(shard, p, b[:n:n])
	}
}

// report sends an authentic compound that the script wrote.
func (f *fuzzer) report(shard int, p *fuzzPeer) {
	if p.sends == nil {
		return
	}
	b := f.bytes(12 + int(f.byte()))
	b[0], b[1] = b[0]&0x3f|0x80, 200+b[1]%8
	b[4], b[5], b[6], b[7] = 0, 0, 0, b[7]&3+1
	p.rtcp++
	if n := p.sends.ProtectRTCP(b[:cap(b)], len(b), uint32(b[7]), p.rtcp); n > 0 {
		f.datagram(shard, p, b[:n:n])
	}
}

func (f *fuzzer) datagram(shard int, p *fuzzPeer, b []byte) {
	if p.path.Remote.Stream() {
		shard = p.id.Shard() // the shell has seen to that
	}
	e := f.engines[shard]
	sum := drops(e)
	e.HandleDatagrams(f.now, []pkt.Datagram{{Path: p.path, Arrived: f.now, Data: b}})
	if drops(e) != sum+1 {
		f.t.Fatalf("%d decisions about one datagram", drops(e)-sum)
	}
}

func (f *fuzzer) drain() {
	for range 3 { // a relay can cause one more
		for i, e := range f.engines {
			for more := true; more; f.tx.Reset() {
				more = e.PollTransmit(f.tx)
			}
			for m := (engine.Relay{}); e.PollRelay(1-i, &m); {
				m.Data = append([]byte(nil), m.Data...)
				f.engines[1-i].HandleRelay(f.now, i, &m)
			}
			for ev := msg.Event(nil); e.PollEvent(&ev); {
				if ev, ok := ev.(msg.Landed); ok {
					f.landed(ev)
				}
			}
			for a := (pkt.Addr{}); e.PollHangup(&a); {
			}
			for s := (engine.Steer{}); e.PollSteer(&s); {
			}
		}
	}
}

// FuzzEngine holds that nothing a peer sends, with or without keys, at whatever
// time and in whatever order, makes an engine panic or lose count, and that
// everything is free in the end.
func FuzzEngine(f *testing.F) {
	joined := []byte{0x00, 0, 0, 0x10, 0, 1, 0x03, 0, 0x13, 1, 0x02, 0, 0x12, 0} // a publisher, a viewer, checked and keyed
	media := func(header ...byte) []byte {                                       // 20 bytes of packet, the payload starting a keyframe
		return append(append([]byte{0x08, 0, 0}, header...), 0x67, 0x42, 0xe0, 0x1f, 0xda, 1, 2, 3)
	}
	video, audio := media(0x80, 96, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0), media(0x80, 111, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	again := media(0x80, 97, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2)
	exts := append([]byte{0x08, 1, 20, 0xb0, 96, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 2, 0x10, '0', 0x40, 7, 0x21, 0, 1, 0}, make([]byte, 16)...)
	report := append([]byte{0x0b, 0, 16, 0x80, 0, 0, 6, 0, 0, 0, 0}, make([]byte, 20)...)
	nack := []byte{0x1b, 1, 4, 0x81, 5, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0x40, 0, 0xff, 0xff}
	pli := []byte{0x1b, 0, 0, 0x81, 6, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1}
	inject := []byte{0x0d, 0, 14, 0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7, 7}
	later := []byte{0x05, 0, 30}
	around := func(peer, kind, low byte) []byte { return []byte{peer<<4 | 4, 0, kind<<3 | low} }
	check := []byte{0x13, 1}
	f.Add(bytes.Join([][]byte{joined, video, audio, later, nack, pli, report, video, later, later}, nil))
	f.Add(bytes.Join([][]byte{joined, video, again, exts, later, video, video, nack, {0x1f, 0}, video, {0x06, 0, 200}}, nil))
	f.Add(bytes.Join([][]byte{{0x10, 0, 1}, {0x13, 0}, {0x12, 0}, inject, inject, later, {0x11, 0}, {0x0e, 0, 3, 22, 1, 1}}, nil))
	byTCP := bytes.Join([][]byte{around(1, 1, 1), check, video, audio, around(1, 2, 0), later, video, around(1, 3, 0), check, video, later}, nil)
	f.Add(append(bytes.Clone(joined), byTCP...))
	f.Add(bytes.Join([][]byte{joined, around(1, 4, 0), around(1, 0, 5), check, video, around(0, 5, 1), {0x03, 1}, video, around(0, 5, 0), later, video}, nil))
	f.Add(bytes.Join([][]byte{{0x00, 0, 0, 0x10, 0, 1, 0x03, 0}, video, audio, report, {0x02, 0}, check, {0x12, 0}, around(0, 6, 3), video, around(1, 7, 3), later, video, around(0, 6, 4), video, nack}, nil))
	moves := []byte{0x00, 0, 0, 0x10, 0, 1, 0x03, 1, 0, 0x13, 1, 0x02, 0, 0x12, 0} // a publisher whose first check lands elsewhere
	f.Add(bytes.Join([][]byte{moves, video, audio, later, {0x03, 0}, around(0, 4, 0), {0x03, 1}, video, later, {0x01, 0}, {0x00, 0, 1, 0x03, 0, 1}, video}, nil))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 4096 {
			return
		}
		z := &fuzzer{t: t, script: script, now: clock.Time(time.Second), tx: pkt.NewBatch(make([]byte, 8<<10), 8)}
		for i := range z.engines {
			z.engines[i] = engine.New(engine.Config{Shard: i, Shards: 2, Sessions: 8, Streams: 8, Seed: 1, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
			z.route(i, z.engines[i], 0)
		}
		for i := range z.peers {
			z.peers[i].path = pkt.Path{Remote: pkt.Addr{Port: uint16(i)}, Local: local}
		}
		for len(z.script) > 0 {
			z.step()
		}
		for i := range z.peers {
			if z.peers[i].there {
				z.remove(&z.peers[i])
			}
		}
		z.drain()
		for i, e := range z.engines {
			e.HandleCommand(z.now, msg.RemoveRoute{Route: fuzzRoute})
			e.HandleCommand(z.now, msg.RemoveRoute{Route: fuzzRoute + 1})
			if st := e.Stats(); st.Sessions+st.Ingresses+st.Egresses != 0 || e.Leaks() != "" {
				t.Fatalf("shard %d: %d sessions, %d ingresses, %d egresses left, %s", i, st.Sessions, st.Ingresses, st.Egresses, e.Leaks())
			}
		}
	})
}
