package pkt

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func TestAddr(t *testing.T) {
	for _, v := range []struct {
		text string
		is4  bool
	}{
		{"192.0.2.7:5000", true}, {"0.0.0.0:0", true}, {"255.255.255.255:65535", true},
		{"[2001:db8::1]:443", false}, {"[::]:1", false}, {"[::1]:1", false}, {"[::fffe:102:304]:1", false},
	} {
		want := netip.MustParseAddrPort(v.text)
		a := AddrFrom(want)
		if a.AddrPort() != want || a.Is4() != v.is4 || a.String() != v.text {
			t.Errorf("%s becomes %v, %s, is4 %v", v.text, a.AddrPort(), a, a.Is4())
		}
	}
	if AddrFrom(netip.MustParseAddrPort("[::ffff:192.0.2.7]:5000")) != AddrFrom(netip.MustParseAddrPort("192.0.2.7:5000")) {
		t.Error("an address has two forms")
	}
	conn := AddrFrom(netip.MustParseAddrPort("192.0.2.7:5000"))
	conn.Conn = 1
	if conn == AddrFrom(netip.MustParseAddrPort("192.0.2.7:5000")) || !conn.Stream() || conn.String() != "192.0.2.7:5000/tcp" {
		t.Errorf("%v is an address like any other", conn)
	}
	if AddrFrom(netip.MustParseAddrPort("[fe80::1%eth0]:1")) != AddrFrom(netip.MustParseAddrPort("[fe80::1]:1")) {
		t.Error("the zone stays")
	}
}

// TestSlabAgainstMap lets a slab and a map live the same random life.
func TestSlabAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	const capacity = 20
	slab := NewSlab(make([]int, capacity))
	twin := map[Handle]int{}
	var gone []Handle
	for step := range 20000 {
		switch r.IntN(3) {
		case 0:
			h, p, ok := slab.Alloc()
			if ok != (len(twin) < capacity) {
				t.Fatalf("step %d: Alloc is %v with %d of %d taken", step, ok, len(twin), capacity)
			}
			if !ok {
				continue
			}
			if _, taken := twin[h]; taken || *p != 0 || h.IsZero() || slices.Contains(gone, h) {
				t.Fatalf("step %d: got %v with %d in it, taken %v", step, h, *p, taken)
			}
			*p = step + 1
			twin[h] = step + 1
		case 1:
			for h := range twin {
				slab.Free(h)
				slab.Free(h) // twice does nothing
				delete(twin, h)
				gone = append(gone, h)
				break
			}
		default:
			seen := 0
			slab.All(func(h Handle, p *int) {
				seen++
				if twin[h] != *p {
					t.Fatalf("step %d: All finds %d under %v, want %d", step, *p, h, twin[h])
				}
			})
			if seen != len(twin) || slab.Len() != len(twin) {
				t.Fatalf("step %d: %d found, Len %d, want %d", step, seen, slab.Len(), len(twin))
			}
		}
		for h, want := range twin {
			if p := slab.Get(h); p == nil || *p != want {
				t.Fatalf("step %d: %v is lost", step, h)
			}
		}
		for _, h := range gone[max(0, len(gone)-50):] {
			if slab.Get(h) != nil {
				t.Fatalf("step %d: stale %v finds something", step, h)
			}
		}
	}
	if slab.Get(Handle{}) != nil || slab.Get(Handle{index: capacity, generation: 1}) != nil {
		t.Error("a handle that names nothing finds something")
	}
}

func TestSlabFreesWhileWalking(t *testing.T) {
	slab := NewSlab(make([]int, 8))
	for range 8 {
		slab.Alloc()
	}
	slab.All(func(h Handle, _ *int) { slab.Free(h) })
	if slab.Len() != 0 {
		t.Errorf("%d left", slab.Len())
	}
}

func TestSlabZeroesWhatWasAKey(t *testing.T) {
	memory := make([][32]byte, 2)
	slab := NewSlab(memory)
	h, p, _ := slab.Alloc()
	p[31] = 1
	slab.Free(h)
	if memory[0] != [32]byte{} {
		t.Error("what was freed is still in memory")
	}
}

func path(n byte) *Path { return &Path{Remote: Addr{IP: [16]byte{15: n}, Port: 1}} }

// commit adds a packet of n bytes of value v.
func commit(b *Batch, p *Path, n int, v byte) bool {
	slot := b.Reserve(n + 5)
	if slot == nil {
		return false
	}
	for i := range n {
		slot[i] = v
	}
	b.Commit(p, n)
	return true
}

func TestBatchRuns(t *testing.T) {
	b := NewBatch(make([]byte, 1<<16), 10)
	sizes := []struct {
		path byte
		n    int
	}{{1, 100}, {1, 100}, {1, 60}, {1, 100}, {2, 100}, {2, 101}, {2, 101}, {1, 101}}
	for _, s := range sizes {
		commit(b, path(s.path), s.n, s.path)
	}
	var got [][3]int
	for i := range b.Runs() {
		r := &b.Runs()[i]
		got = append(got, [3]int{int(r.Path.Remote.IP[15]), int(r.Len), r.Packets()})
		if len(b.Bytes(r)) != int(r.Len) || b.Bytes(r)[0] != r.Path.Remote.IP[15] {
			t.Errorf("run %d has the wrong bytes", i)
		}
	}
	// A shorter packet ends its run; a longer one begins another.
	want := [][3]int{{1, 260, 3}, {1, 100, 1}, {2, 100, 1}, {2, 202, 2}, {1, 101, 1}}
	if !slices.Equal(got, want) {
		t.Errorf("runs %v, want %v", got, want)
	}
	b.Reset()
	if !b.Empty() || len(b.Runs()) != 0 {
		t.Error("not empty after Reset")
	}
	commit(b, path(1), 5, 1)
	if len(b.Runs()) != 1 || b.Runs()[0].Off != 0 {
		t.Error("Reset leaves something behind")
	}
}

// A mark is of what comes after it, and parts runs.
func TestBatchMarks(t *testing.T) {
	b := NewBatch(make([]byte, 1<<16), 10)
	for _, m := range []Mark{{}, {}, {184, 0}, {184, 0}, {184, 5}, {136, 5}, {}, {0, 5}} {
		b.Mark(m)
		commit(b, path(1), 100, m.Class+m.Priority)
	}
	var got [][3]int
	for i := range b.Runs() {
		r := &b.Runs()[i]
		got = append(got, [3]int{int(r.Mark.Class), int(r.Mark.Priority), r.Packets()})
		if b.Bytes(r)[0] != r.Mark.Class+r.Mark.Priority {
			t.Errorf("run %d has the bytes of another mark", i)
		}
	}
	if want := [][3]int{{0, 0, 2}, {184, 0, 2}, {184, 5, 1}, {136, 5, 1}, {0, 0, 1}, {0, 5, 1}}; !slices.Equal(got, want) {
		t.Errorf("marks and packets %v, want %v", got, want)
	}
	b.Reset()
	commit(b, path(1), 5, 1)
	if b.Runs()[0].Mark != (Mark{}) {
		t.Error("Reset leaves a mark behind")
	}
}

// Packets for a connection line up beside those for addresses, whatever comes
// in between, and the two have bounds of their own.
func TestBatchStreams(t *testing.T) {
	b := NewBatch(make([]byte, 1<<12), 3)
	conn := path(1)
	conn.Remote.Conn = 7
	for range 2 {
		commit(b, path(1), 100, 1)
		commit(b, conn, 100, 7)
		commit(b, conn, 50, 7)
	}
	if len(b.Runs()) != 2 || len(b.Streams()) != 2 || b.Empty() {
		t.Fatalf("%d runs, %d streams", len(b.Runs()), len(b.Streams()))
	}
	for i := range b.Streams() {
		if r := &b.Streams()[i]; r.Path != *conn || r.Packets() != 2 || b.Bytes(r)[149] != 7 {
			t.Errorf("%+v", r)
		}
	}
	commit(b, path(2), 1, 1)
	if commit(b, conn, 1, 7) || commit(b, path(3), 1, 1) {
		t.Error("another run where all are taken")
	}
	b.Reset()
	if !b.Empty() || !commit(b, conn, 1, 7) || b.Empty() || len(b.Streams()) != 1 {
		t.Error("Reset leaves something behind")
	}
}

// TestBatchAgainstList cuts random batches into packets again.
func TestBatchAgainstList(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	for range 300 {
		b := NewBatch(make([]byte, 1+r.IntN(60000)), 1+r.IntN(60))
		type packet struct {
			to byte
			b  []byte
		}
		var want, got []packet
		to, n := byte(1), 1452
		for range 400 {
			if r.IntN(20) == 0 {
				to = byte(r.IntN(3))
			}
			if r.IntN(10) == 0 {
				n = 1 + r.IntN(1452)
			}
			v := byte(r.Uint32())
			if !commit(b, path(to), n, v) {
				break
			}
			want = append(want, packet{to, bytes.Repeat([]byte{v}, n)})
		}
		for i := range b.Runs() {
			run := &b.Runs()[i]
			if run.Packets() > MaxRunPackets || run.Len > 65000 {
				t.Fatalf("run of %d packets, %d bytes", run.Packets(), run.Len)
			}
			before := len(got)
			for rest := b.Bytes(run); len(rest) > 0; {
				n := min(int(run.Segment), len(rest))
				got = append(got, packet{run.Path.Remote.IP[15], rest[:n]})
				rest = rest[n:]
			}
			if len(got)-before != run.Packets() {
				t.Fatalf("run says %d packets, holds %d", run.Packets(), len(got)-before)
			}
		}
		same := slices.EqualFunc(got, want, func(a, b packet) bool { return a.to == b.to && bytes.Equal(a.b, b.b) })
		if !same {
			t.Fatalf("%d packets in, %d out, or others", len(want), len(got))
		}
	}
}

func TestBatchReservesWithoutCommit(t *testing.T) {
	b := NewBatch(make([]byte, 100), 1)
	if len(b.Reserve(100)) != 100 || len(b.Reserve(100)) != 100 || b.Reserve(101) != nil {
		t.Error("Reserve alone uses room, or gives more than there is")
	}
	commit(b, path(1), 10, 1)
	if b.Reserve(1) != nil {
		t.Error("room for another run")
	}
}

func TestPktAllocatesNothing(t *testing.T) {
	slab := NewSlab(make([]int, 4))
	h, _, _ := slab.Alloc()
	b := NewBatch(make([]byte, 1000), 10)
	allocs := testing.AllocsPerRun(100, func() {
		*slab.Get(h)++
		commit(b, path(1), 10, 1)
		b.Reset()
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
