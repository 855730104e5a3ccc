package steer

import (
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"

	"sluice/dataplane/ice"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"

	"github.com/pion/stun/v2"
)

// nowhere is what decide returns for what goes by the hash.
const nowhere = 0xffffffff

// decider runs the program's decision on given datagrams.
type decider struct {
	t    *testing.T
	maps struct {
		Program *ebpf.Program `ebpf:"decide"`
		Peers   *ebpf.Map     `ebpf:"peers"`
	}
}

func newDecider(t *testing.T) *decider {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec("testdata/decide.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	spec.Maps["peers"].MaxEntries = 16
	d := &decider{t: t}
	if err := spec.LoadAndAssign(&d.maps, nil); err != nil {
		t.Fatalf("load: %v (the test needs root)", err)
	}
	t.Cleanup(func() { d.maps.Program.Close(); d.maps.Peers.Close() })
	return d
}

func (d *decider) decide(from pkt.Addr, datagram []byte) uint32 {
	d.t.Helper()
	key := keyOf(from)
	got, _, err := d.maps.Program.Test(append(key[:], datagram...))
	if err != nil {
		d.t.Fatal(err)
	}
	return got
}

// check is a connectivity check to a session, with further attributes in front.
func check(t *testing.T, username string, before ...stun.Setter) []byte {
	t.Helper()
	setters := append([]stun.Setter{stun.BindingRequest, stun.TransactionID}, before...)
	setters = append(setters, stun.NewUsername(username), stun.NewShortTermIntegrity("password"), stun.Fingerprint)
	m, err := stun.Build(setters...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// wanted is the shard that Go's reading of a datagram from an unknown peer gives.
func wanted(datagram []byte) uint32 {
	var m wire.STUN
	if wire.Classify(datagram) != wire.ProtoSTUN || !wire.ParseSTUN(datagram, &m) || m.Type != wire.STUNBindingRequest {
		return nowhere
	}
	if shard, ok := ice.UfragShard(m.LocalUfrag()); ok {
		return uint32(shard)
	}
	return nowhere
}

func TestDecideByUfrag(t *testing.T) {
	d := newDecider(t)
	datagrams := [][]byte{
		make([]byte, 1), make([]byte, 20), {0x80, 96, 0, 1}, {22, 254, 253},
		check(t, "Bxxxxxxx"), check(t, "short:peer"), check(t, ""), check(t, "much-too-long:peer"),
		check(t, "Cxxxxxxx:peer", stun.NewSoftware("odd")), check(t, "Dxxxxxxx:peer", stun.NewSoftware("some length")),
	}
	for shard := range ice.MaxShards {
		ufrag, _ := ice.NewUfrag(shard, &[ice.RandomLen]byte{1, 2, 3})
		datagrams = append(datagrams, check(t, ufrag+":peer"))
	}
	for _, datagram := range datagrams {
		if got, want := d.decide(pkt.Addr{}, datagram), wanted(datagram); got != want {
			t.Errorf("%x: shard %d, want %d", datagram, int32(got), int32(want))
		}
	}
}

// TestDecideByClass: whatever a datagram is, it is steered by its ufrag only if
// it is STUN for wire.Classify, and then as Go would if Go can read it.
func TestDecideByClass(t *testing.T) {
	d := newDecider(t)
	rng := rand.New(rand.NewPCG(1, 2))
	request := check(t, "Fxxxxxxx:peer")
	steered := 0
	for first := range 256 {
		for range 8 {
			datagram := append([]byte{}, request...)
			datagram[0] = byte(first)
			for range rng.IntN(3) {
				datagram[1+rng.IntN(len(datagram)-1)] ^= byte(1 << rng.IntN(8))
			}
			got, want := d.decide(pkt.Addr{}, datagram), wanted(datagram)
			if got != nowhere && wire.Classify(datagram) != wire.ProtoSTUN {
				t.Fatalf("%x is no STUN and goes to shard %d", datagram, got)
			}
			if want != nowhere && got != want {
				t.Fatalf("%x goes to shard %d, want %d", datagram, int32(got), want)
			}
			if got != nowhere {
				steered++
			}
		}
	}
	if steered == 0 {
		t.Error("nothing was steered")
	}
}

// TestDecideByPeer: a known peer's datagrams go to its shard, whatever they are;
// another port, or another address, is another peer.
func TestDecideByPeer(t *testing.T) {
	d := newDecider(t)
	peer := pkt.Addr{IP: [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}, Port: 5004}
	if err := d.maps.Peers.Put(keyOf(peer), uint32(3)); err != nil {
		t.Fatal(err)
	}
	otherPort, otherIP := peer, peer
	otherPort.Port++
	otherIP.IP[15]++
	rtp := []byte{0x80, 96, 0, 1}
	for _, c := range []struct {
		name     string
		from     pkt.Addr
		datagram []byte
		want     uint32
	}{
		{"media", peer, rtp, 3},
		{"check for another shard", peer, check(t, "Bxxxxxxx:peer"), 3},
		{"another port", otherPort, rtp, nowhere},
		{"another address", otherIP, rtp, nowhere},
	} {
		if got := d.decide(c.from, c.datagram); got != c.want {
			t.Errorf("%s: shard %d, want %d", c.name, int32(got), int32(c.want))
		}
	}
}
