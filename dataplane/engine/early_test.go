package engine_test

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// unkeyed starts a publisher that passes its checks, and whose keys the test
// installs.
func (st *stage) unkeyed() *publisher {
	p := st.publish(st.newStream())
	st.world.keyed[p.id] = true // the control plane installs none
	p.peer.keyed = true         // and the peer does not ask
	st.pass(time.Second)
	return p
}

func (st *stage) install(p *publisher) {
	st.command(p.id.Shard(), msg.InstallKeys{ID: p.id, Path: pkt.Path{Remote: p.host.Addr(), Local: local}, Keys: p.keys})
	st.pass(100 * time.Millisecond)
}

// Media that comes before the keys is there for the viewers once they are.
func TestEarlyMediaIsHeld(t *testing.T) {
	st := newStage(t)
	p := st.unkeyed()
	st.watch(p.stream)
	st.pass(time.Second)
	p.wantKey = true
	n := st.dropped(wire.DropNoKeys, func() {
		for range 10 {
			p.sendFrame()
			p.sendAudio()
			st.pass(time.Millisecond)
		}
	})
	before := st.counts.received
	sent := int(p.sources[msg.Video].count + p.sources[msg.Audio].count)
	if held := st.e.Counters.Early; n != 0 || held != uint64(sent) || before != st.counts.received {
		t.Fatalf("%d packets dropped, %d of %d held", n, held, sent)
	}
	st.install(p)
	kept := uint64(0)
	for _, r := range st.e.Stats().Routes {
		for _, track := range p.stream.tracks {
			if r.Route == track.route {
				kept += r.Packets
			}
		}
	}
	// The viewer begins on the keyframe, and with the sound as it is then.
	if got := st.counts.received - before; kept != uint64(sent) || got == 0 {
		t.Errorf("of %d packets %d were kept, and %d reached the viewer", sent, kept, got)
	}
	for _, peer := range st.live() {
		st.remove(peer)
	}
	st.pass(time.Second)
	st.empty()
}

// What is held is bounded, for a session and for all; it is freed with the
// session, and counted as what it became.
func TestEarlyMediaIsBounded(t *testing.T) {
	st := newStage(t)
	const each, all = 256, 1024
	var publishers []*publisher
	left := all
	for range 6 {
		p := st.unkeyed()
		publishers = append(publishers, p)
		held := st.e.Counters.Early
		n := st.dropped(wire.DropNoKeys, func() {
			for range 300 {
				st.send(p.host, append([]byte{0x80, videoPT}, make([]byte, 50)...))
			}
		})
		want := min(each, left)
		left -= want
		if got := int(st.e.Counters.Early - held); got != want || n != 300-want {
			t.Errorf("of 300 datagrams %d were held and %d dropped, want %d held", got, n, want)
		}
	}
	if n := st.dropped(wire.DropAuth, func() { st.install(publishers[0]) }); n != each {
		t.Errorf("%d of %d that nobody protected were found out", n, each)
	}
	if n := st.dropped(wire.DropNoKeys, func() { st.remove(publishers[1].peer); st.pass(100 * time.Millisecond) }); n != each {
		t.Errorf("%d of %d are counted that went with their session", n, each)
	}
	for _, p := range st.live() {
		st.remove(p)
	}
	st.pass(time.Second)
	st.empty()
}

// However often a session moves while nobody takes events, its path is reported
// once, as it is then; that of a session that is gone is not.
func TestMovesAreReportedAsTheyAre(t *testing.T) {
	st := newStage(t)
	moving, leaving := st.unkeyed(), st.unkeyed()
	var last pkt.Path
	feed := func(b []byte) {
		st.e.HandleDatagrams(st.net.Now(), []pkt.Datagram{{Path: last, Arrived: st.net.Now(), Data: b}})
	}
	for _, p := range []*publisher{leaving, moving} {
		st.install(p)
		for range 10 {
			last = pkt.Path{Remote: st.newAddr(p.peer), Local: local}
			*st.remotes[last.Remote] = remoteState{peer: p.peer, consented: st.net.Now(), validated: true}
			feed(p.checkPacket())
			report, err := rtcp.Marshal([]rtcp.Packet{p.sources[msg.Video].report()})
			if err != nil {
				t.Fatal(err)
			}
			if report, err = p.send.EncryptRTCP(nil, report, nil); err != nil {
				t.Fatal(err)
			}
			feed(report)
		}
	}
	st.e.HandleCommand(st.net.Now(), msg.RemoveSession{ID: leaving.id})
	var moves []msg.PairSelected
	for ev := msg.Event(nil); st.e.PollEvent(&ev); {
		if m, ok := ev.(msg.PairSelected); ok {
			moves = append(moves, m)
		}
	}
	if want := (msg.PairSelected{ID: moving.id, Path: last}); len(moves) != 1 || moves[0] != want {
		t.Errorf("reported %v, want %v alone", moves, want)
	}
}
