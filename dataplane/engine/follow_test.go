package engine_test

import (
	"bytes"
	"testing"

	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// TestFollow: the first check of a publisher that lands elsewhere is reported and not
// answered; where the session has moved, checks that name its first shard are passed
// on by that, from wherever they landed, and answered there.
func TestFollow(t *testing.T) {
	var engines [3]*engine.Engine
	for i := range engines {
		engines[i] = engine.New(engine.Config{Shard: i, Shards: 3, Sessions: 1, Streams: 1}, engine.DefaultSettings())
	}
	ufrag, pwd := ice.NewUfrag(1, &[ice.RandomLen]byte{})
	add := msg.AddSession{ID: msg.NewSessionID(1, 1), Ufrag: ufrag, Pwd: pwd, Receive: []msg.Receive{{Route: 1, Kind: msg.Audio, Codec: codec.Opus, ClockRate: 48000, PT: 111}}}
	begin := func(shard int) {
		engines[shard].HandleCommand(1, msg.AddRoute{Route: 1, Kind: msg.Audio, Codec: codec.Opus, ClockRate: 48000, Home: shard, Shards: 1 << shard})
		engines[shard].HandleCommand(1, add)
	}
	// pass has the next relay between two shards handled, which has to be of a kind.
	pass := func(from, to int, kind engine.RelayKind) {
		t.Helper()
		var m engine.Relay
		if !engines[from].PollRelay(to, &m) || m.Kind != kind {
			t.Fatalf("shard %d tells shard %d %+v", from, to, m)
		}
		m.Data = bytes.Clone(m.Data)
		engines[to].HandleRelay(2, from, &m)
	}
	arrive := func(shard int, check []byte) {
		path := pkt.Path{Remote: pkt.Addr{IP: [16]byte{15: 1}, Port: 9}, Local: local}
		engines[shard].HandleDatagrams(2, []pkt.Datagram{{Path: path, Data: check}})
	}
	answered := func(shard int) bool {
		tx := pkt.NewBatch(make([]byte, 4096), 4)
		engines[shard].PollTransmit(tx)
		return len(tx.Runs()) == 1 && bytes.HasPrefix(tx.Bytes(&tx.Runs()[0]), []byte{1, 1})
	}

	begin(1)
	check := bindingRequest(ufrag, pwd, 1)
	arrive(0, bytes.Clone(check))
	pass(0, 1, engine.RelayDatagram)
	var ev msg.Event
	if !engines[1].PollEvent(&ev) {
		t.Fatal("nobody is told where it landed")
	}
	landed, ok := ev.(msg.Landed)
	if !ok || landed.ID != add.ID || landed.Shard != 0 || !bytes.Equal(landed.Data, check) {
		t.Fatalf("%+v", ev)
	}
	if engines[1].RelayPending(0) {
		t.Fatal("it is answered before it is decided where")
	}

	engines[1].HandleCommand(3, msg.RemoveSession{ID: add.ID})
	engines[1].HandleCommand(3, msg.ForwardChecks{Ufrag: ufrag, Shard: 0})
	add.ID = msg.NewSessionID(0, 2)
	begin(0)
	engines[0].HandleCommand(3, msg.TakeCheck{Check: landed.Check})
	if !answered(0) {
		t.Fatal("the first check is not answered where it landed")
	}
	arrive(2, bindingRequest(ufrag, pwd, 2))
	pass(2, 1, engine.RelayDatagram)
	pass(1, 0, engine.RelayDatagram)
	pass(0, 2, engine.RelayOwner)
	if !answered(2) {
		t.Error("a check by way of the first shard is not answered where it landed")
	}
	arrive(1, bindingRequest(ufrag, pwd, 3))
	pass(1, 0, engine.RelayDatagram)
	pass(0, 1, engine.RelayOwner)
	if !answered(1) {
		t.Error("a check at the first shard is not answered")
	}
	if home, ok := engines[1].Home(check); !ok || home != 0 {
		t.Errorf("a connection to the first shard goes to %d, %v", home, ok)
	}
	engines[1].HandleCommand(4, msg.ForwardChecks{Ufrag: ufrag, Shard: 1})
	arrive(1, bindingRequest(ufrag, pwd, 4))
	if engines[1].RelayPending(0) {
		t.Error("it is passed on after the session's end")
	}
}
