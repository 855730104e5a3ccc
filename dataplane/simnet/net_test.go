package simnet

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

func addr(n byte) pkt.Addr { return pkt.Addr{IP: [16]byte{15: n}, Port: 1} }

// trace runs some traffic over bad links and writes down what happened.
func trace(seed uint64) (log []string) {
	var n *Net
	n = New(seed, 0, func(from pkt.Addr, b []byte) {
		log = append(log, fmt.Sprint(n.Now(), " up ", from, b))
		n.Deliver(from, b)
	})
	for i := range byte(3) {
		h := n.NewHost(addr(i), func(b []byte) { log = append(log, fmt.Sprint(n.Now(), " down ", i, b)) })
		h.Up = Link{Delay: time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.1, Duplicate: 0.1}
		h.Down = Link{BitsPerSecond: 8000, Loss: 0.1}
		for j := range byte(100) {
			n.After(time.Duration(j)*time.Millisecond, func() { h.Send([]byte{i, j}) })
		}
	}
	n.Run(clock.Time(time.Second))
	return log
}

func TestSameSeedSameRun(t *testing.T) {
	a, b, c := trace(1), trace(1), trace(2)
	if !slices.Equal(a, b) {
		t.Error("one seed gave two runs")
	}
	if slices.Equal(a, c) || len(a) < 200 {
		t.Errorf("two seeds gave one run, or too little happened: %d events", len(a))
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	n := New(3, 5, nil)
	last, calls := n.Now(), 0
	var again func()
	again = func() {
		if n.Now() < last {
			t.Fatalf("from %d back to %d", last, n.Now())
		}
		last = n.Now()
		if calls++; calls < 2000 {
			n.After(n.rand.Duration(50), again)
			n.At(0, func() {}) // in the past: now
		}
	}
	for range 20 {
		n.After(n.rand.Duration(100), again)
	}
	n.Run(1000000)
	if n.Now() != 1000000 || calls < 2000 {
		t.Errorf("ended at %d after %d calls", n.Now(), calls)
	}
}

func TestSameInstantInOrder(t *testing.T) {
	n := New(0, 0, nil)
	var got []int
	for i := range 50 {
		n.At(7, func() { got = append(got, i) })
	}
	n.Run(7)
	if !slices.IsSorted(got) || len(got) != 50 {
		t.Errorf("called in order %v", got)
	}
}

// arrivals sends packets of 100 bytes a millisecond apart and returns when they
// come in.
func arrivals(l Link, packets int) (at []time.Duration, order []int) {
	var n *Net
	n = New(9, 0, func(_ pkt.Addr, b []byte) {
		at = append(at, time.Duration(n.Now()))
		order = append(order, int(b[0])<<8|int(b[1]))
	})
	h := n.NewHost(addr(1), nil)
	h.Up = l
	for i := range packets {
		n.At(clock.Time(i)*clock.Time(time.Millisecond), func() { h.Send(append([]byte{byte(i >> 8), byte(i)}, make([]byte, 98)...)) })
	}
	n.Run(clock.Time(time.Hour))
	return at, order
}

func TestLinks(t *testing.T) {
	const count = 2000
	if at, order := arrivals(Link{Delay: 5 * time.Millisecond}, count); len(at) != count || at[0] != 5*time.Millisecond || !slices.IsSorted(order) {
		t.Error("a link with a delay only loses or reorders")
	}
	if at, _ := arrivals(Link{Loss: 0.25}, count); len(at) < count*7/10 || len(at) > count*8/10 {
		t.Errorf("%d of %d came over a link that loses a quarter", len(at), count)
	}
	if at, _ := arrivals(Link{Duplicate: 0.2}, count); len(at) < count*115/100 || len(at) > count*135/100 {
		t.Errorf("%d of %d came over a link that duplicates a fifth", len(at), count)
	}
	if _, order := arrivals(Link{Jitter: 10 * time.Millisecond}, count); slices.IsSorted(order) {
		t.Error("jitter does not reorder")
	}
	// 100 bytes take 2 ms at 400 kbit/s: half of them find the queue full in the end.
	at, order := arrivals(Link{BitsPerSecond: 400000}, count)
	if len(at) > count*65/100 || len(at) < count/2 || !slices.IsSorted(order) {
		t.Errorf("%d of %d passed a bottleneck of half the rate", len(at), count)
	}
	if at, _ := arrivals(Link{Dark: clock.Time(1500 * time.Millisecond)}, count); len(at) != count-1500 {
		t.Errorf("%d came, want those after the dark", len(at))
	}
}

func TestRebind(t *testing.T) {
	var from []pkt.Addr
	n := New(0, 0, func(a pkt.Addr, _ []byte) { from = append(from, a) })
	received := 0
	h := n.NewHost(addr(1), func([]byte) { received++ })
	h.Down.Delay = time.Millisecond
	n.Deliver(addr(1), []byte{1}) // on its way when the address changes
	h.Send([]byte{1})
	h.Rebind(addr(2))
	h.Send([]byte{1})
	n.Deliver(addr(1), []byte{1})
	n.Deliver(addr(2), []byte{1})
	n.Run(clock.Time(time.Second))
	if received != 1 || !slices.Equal(from, []pkt.Addr{addr(1), addr(2)}) || h.Addr() != addr(2) {
		t.Errorf("%d received, sent from %v", received, from)
	}
}
