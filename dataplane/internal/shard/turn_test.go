package shard

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/internal/udp"
	"sluice/dataplane/wire"
)

// A turn of the loop allocates nothing, with a datagram and without.
func TestTurnAllocates(t *testing.T) {
	socket, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Options{ReceiveBuffer: 1 << 20, SendBuffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	epoch := time.Now().Add(-time.Second)
	eng := engine.New(engine.Config{
		Shards: 1, Sessions: 1, Streams: 1, NTPOrigin: clock.FromWall(epoch), Memory: func(n int) []byte { return make([]byte, n) },
	}, engine.Settings{})
	s, err := New(Config{Shards: 1, CPU: -1, Epoch: epoch, Engine: eng, Socket: socket, Tx: make([]byte, TxBytes)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	if err := unix.Connect(client, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(socket.Port())}); err != nil {
		t.Fatal(err)
	}
	const rounds = 100
	unknown := []byte{0xff}
	n := testing.AllocsPerRun(rounds, func() {
		unix.Write(client, unknown)
		s.turn()
		s.turn()
	})
	if n != 0 {
		t.Errorf("%v allocations in two turns", n)
	}
	if got := eng.Counters.Drops[wire.DropUnknownProto]; got < rounds {
		t.Errorf("%d datagrams came, of %d", got, rounds)
	}
}

// TestClosed: a frame may join what is being sent, and no more than that; while the
// socket is full, everything comes in.
func TestClosed(t *testing.T) {
	for name, c := range map[string]struct {
		shard Shard
		want  bool
	}{
		"nothing to send": {Shard{joined: 10 * joinable}, false},
		"a frame":         {Shard{more: true, joined: joinable - 1}, false},
		"enough":          {Shard{more: true, joined: joinable}, true},
		"a full socket":   {Shard{more: true, unsent: true, joined: 10 * joinable}, false},
		"sending goes on": {Shard{more: true}, false},
	} {
		if got := c.shard.closed(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	s := Shard{joined: joinable}
	if s.closed(); s.joined != 0 {
		t.Errorf("%d joined what was sent", s.joined)
	}
}
