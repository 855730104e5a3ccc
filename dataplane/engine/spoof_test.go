package engine_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"sluice/dataplane/engine"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// TestAddressesStayTheirPeers: who has a session of its own sends its checks with
// the source address of others. Their packets go on being theirs, on whichever
// shards the sessions are and the packets land.
func TestAddressesStayTheirPeers(t *testing.T) {
	for shards := 1; shards <= maxShards; shards++ {
		for seed := range uint64(5) {
			w := newWorld(t, seed, shards, livePace, fmt.Sprintf("go test ./dataplane/engine -run '%s$' # %d shards, seed %d", t.Name(), shards, seed))
			w.perfect = true
			s := w.newStream()
			w.publish(s)
			w.net.Run(w.net.Now().Add(time.Second))
			for range 5 {
				w.watch(s)
			}
			w.net.Run(w.net.Now().Add(4 * time.Second)) // each has checked with its keys
			lost := func() (n uint64) {
				for _, e := range w.engines {
					n += e.Counters.Drops[wire.DropAuth] + e.Counters.Drops[wire.DropUnknownTuple] + e.Counters.PathChanges
				}
				return n
			}
			before := lost()
			for range 20 {
				for _, victim := range w.live() {
					for _, thief := range w.live() {
						if thief != victim {
							victim.host.Send(thief.checkPacket())
						}
					}
				}
				w.net.Run(w.net.Now().Add(250 * time.Millisecond))
			}
			if after := lost(); after != before {
				t.Errorf("%d shards, seed %d: %d packets went to another session, or media moved", shards, seed, after-before)
			}
			w.settled()
		}
	}
}

// TestAddressOfASilentPeer: an address whose session has not checked for a while is
// free for another one, as of a program that starts again on the same port.
func TestAddressOfASilentPeer(t *testing.T) {
	st := newStage(t)
	old := st.v.peer
	id := msg.NewSessionID(0, 99)
	ufrag, pwd := ice.NewUfrag(0, &[ice.RandomLen]byte{})
	st.e.HandleCommand(st.net.Now(), msg.AddSession{ID: id, Ufrag: ufrag, Pwd: pwd})
	path := pkt.Path{Remote: old.host.Addr(), Local: local}
	// owner is whose DTLS from the address is, after a check of the other one's.
	owner := func() (whose msg.SessionID) {
		st.e.HandleDatagrams(st.net.Now(), []pkt.Datagram{{Path: path, Data: bindingRequest(ufrag, pwd, 1)}, {Path: path, Data: []byte{22, 0xfe, 0xfd, 1}}})
		for ev := msg.Event(nil); st.e.PollEvent(&ev); {
			if punt, ok := ev.(msg.Punt); ok {
				whose = punt.ID
			}
		}
		st.drain(0)
		return whose
	}
	if got := owner(); got != old.id {
		t.Errorf("the address went from %v to %v", old.id, got)
	}
	old.gone = true
	st.pass(10 * time.Second)
	if got := owner(); got != old.id {
		t.Errorf("10 s after the last check the address went from %v to %v", old.id, got)
	}
	st.pass(6 * time.Second)
	if got := owner(); got != id {
		t.Errorf("16 s after the last check the address is %v's", got)
	}
}

// TestAddressesMakeRoom: somebody with a session on another shard checks from more addresses than are remembered. A newcomer there is
// known all the same, and nobody who has media is forgotten.
func TestAddressesMakeRoom(t *testing.T) {
	const most = 1 << 14
	b := newPublished(t, 2, 1, msg.Feedback{})
	e := b.engines[0]
	tell := func(n int, held bool) pkt.Path {
		p := pkt.Path{Remote: pkt.Addr{Port: 9}, Local: local}
		binary.BigEndian.PutUint32(p.Remote.IP[12:], 1<<24|uint32(n))
		e.HandleRelay(b.now, 1, &engine.Relay{Kind: engine.RelayOwner, Path: p, Held: held})
		return p
	}
	known := func(p pkt.Path) bool {
		before := e.Counters.Misplaced
		e.HandleDatagrams(b.now, []pkt.Datagram{{Path: p, Arrived: b.now, Data: []byte{22, 254, 253, 0}}})
		b.drain()
		return e.Counters.Misplaced > before
	}
	viewer := tell(0, true)
	for n := range most {
		tell(n+1, false)
	}
	if newcomer := tell(2*most, false); !known(newcomer) {
		t.Error("a newcomer is not known")
	}
	if !known(viewer) {
		t.Error("a peer with media was forgotten")
	}
	if e.Counters.Forgotten == 0 || e.Remotes() > most+1 { // and the publisher's own
		t.Errorf("%d addresses, of which %d made room", e.Remotes(), e.Counters.Forgotten)
	}
}

// TestCheckBehindAStall: the process was stopped for longer than consent lasts. A check that came meanwhile, to another shard, is taken
// into account before the session's end; without one it ends with the next tick.
func TestCheckBehindAStall(t *testing.T) {
	b := newBurst(t, 2, 2)
	e, v := b.engines[0], &b.viewers[0]
	sessions := e.Stats().Sessions
	b.timers()
	b.now = b.now.Add(33 * time.Second)
	e.HandleTimeout(b.now)
	check := v.check(7)
	e.HandleRelay(b.now, 1, &engine.Relay{Kind: engine.RelayDatagram, Path: check.Path, Landed: 1, Arrived: b.now, Data: check.Data})
	for range 3 {
		b.now = b.now.Add(time.Second)
		b.timers()
	}
	if !e.Owns(v.path.Remote) {
		t.Error("the session of the viewer that checked has ended")
	}
	if n := e.Stats().Sessions; n >= sessions {
		t.Errorf("%d sessions of %d are left, though only one of them checked", n, sessions)
	}
}
