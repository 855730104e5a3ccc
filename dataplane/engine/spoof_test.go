package engine_test

import (
	"fmt"
	"testing"
	"time"

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
