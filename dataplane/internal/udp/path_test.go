package udp

import (
	"net/netip"
	"syscall"
	"testing"

	"sluice/netopt/host/hosttest"
)

// A path that takes only smaller packets, as an ICMP message can claim of any,
// refuses trains. Its packets arrive, in fragments, and trains to others go on.
func TestPathThatTakesNoTrains(t *testing.T) {
	if !hosttest.Isolated(t, syscall.CLONE_NEWNET) {
		return
	}
	ip4(t, "link set lo up")
	ip4(t, "route add local 127.0.0.77/32 dev lo mtu lock 1000 table local")
	narrow, wide := listen(t, "127.0.0.77:0"), listen(t, "127.0.0.1:0")
	s, err := Listen(netip.MustParseAddrPort("[::]:0"), Options{ReceiveBuffer: 1 << 20, SendBuffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Use(every)
	b := newBatch()
	var want [][]byte
	for i := range 20 {
		to := path("127.0.0.77", narrow.Port(), "127.0.0.1")
		if i%2 == 1 {
			to = path("127.0.0.1", wide.Port(), "127.0.0.1")
		}
		for range 4 {
			p := packet(i, 1200)
			commit(t, b, to, p)
			if i%2 == 0 {
				want = append(want, p)
			}
		}
	}
	if done, dropped := s.Send(b); !done || dropped != 0 {
		t.Fatalf("done %v, %d dropped", done, dropped)
	}
	checkPackets(t, receive(t, narrow, len(want)), want)
	receive(t, wide, len(want))
	if c := s.Counters; c.Refusals != 10 || c.Fallbacks != 0 || c.TxMessages != 10+40 || !s.Uses().GSO {
		t.Errorf("%+v, uses %+v", c, s.Uses())
	}
}
