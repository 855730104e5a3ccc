package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/controlplane/registry"
	"sluice/controlplane/sdp"
)

// The last reasons are remembered, and no more than those.
func TestGraveyard(t *testing.T) {
	var g graveyard
	if why := g.why("none"); why != "" {
		t.Errorf("of nobody: %q", why)
	}
	const buried = 3*len(g.tokens) + 7
	for i := range buried {
		g.add(fmt.Sprint(i), fmt.Sprint("reason ", i))
	}
	for i := range buried {
		want := ""
		if i >= buried-len(g.tokens) {
			want = fmt.Sprint("reason ", i)
		}
		if why := g.why(fmt.Sprint(i)); why != want {
			t.Fatalf("of %d: %q, want %q", i, why, want)
		}
	}
	if len(g.reasons) != len(g.tokens) {
		t.Errorf("%d reasons are kept", len(g.reasons))
	}
}

// Addresses are asked for again after a while; what went wrong is asked for at once.
func TestCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var fail error
		addrs := cached(func() ([]netip.AddrPort, error) {
			asked++
			return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Loopback(), uint16(asked))}, fail
		})
		expect := func(port uint16, err error) {
			t.Helper()
			got, gotErr := addrs()
			if gotErr != err || err == nil && got[0].Port() != port {
				t.Errorf("got %v, %v; want answer %d, %v", got, gotErr, port, err)
			}
		}
		expect(1, nil)
		time.Sleep(4 * time.Second)
		expect(1, nil)
		time.Sleep(time.Second)
		expect(2, nil)
		time.Sleep(time.Minute)
		fail = errors.New("no interfaces")
		expect(3, fail)
		expect(4, fail)
		fail = nil
		expect(5, nil)
		expect(5, nil)
	})
}

// A drain ends when no session is heard of, or with the caller's patience.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Service{log: slog.New(slog.DiscardHandler), registry: registry.New(1, registry.Limits{Sessions: 9, Streams: 9, Pending: 9})}
		session, _, err := s.registry.Publish("live", []sdp.Track{}, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		heard := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.registry.Sessions()
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.drain(ctx, heard)
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("with a session that stays it took %v", took)
		}
		go func() {
			time.Sleep(time.Minute)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.registry.Remove(session.ID)
		}()
		s.drain(t.Context(), heard)
		if took := time.Since(begin) - 10*time.Second; took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("with a session that ends after a minute it took %v", took)
		}
		if !s.draining {
			t.Error("new sessions are taken")
		}
	})
}

// Each refusal is counted under its own reason.
func TestRefusalsAreCounted(t *testing.T) {
	s := &Service{}
	for reason, err := range map[string]error{
		"offer": &sdp.Error{}, "mismatch": &sdp.Mismatch{}, "published": registry.ErrPublished, "not_live": registry.ErrNotLive, "viewers": ErrViewers,
		"sessions": registry.ErrFull, "streams": registry.ErrStreams, "pending": registry.ErrPending, "memory": ErrMemory, "draining": ErrDraining, "address": ErrAddress,
	} {
		if got := s.refuse(err); got != err {
			t.Errorf("%s: became %v", reason, got)
		}
		if n := s.refused[slices.Index(refusals[:], reason)].Load(); n != 1 {
			t.Errorf("%v is counted %d times under %s", err, n, reason)
		}
	}
}

// A meter of a route that goes to another shard begins anew.
func TestMeter(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	m := (*meter)(nil).read(at(1), 500)
	for _, step := range []struct {
		at    int
		bytes uint64
		rate  float64
		grown int
	}{
		{2, 1500, 8000, 2}, {3, 1500, 0, 2}, {4, 1501, 8, 4}, {5, 100, 0, 5}, {7, 200, 400, 7}, {8, 200, 0, 7},
	} {
		m = m.read(at(step.at), step.bytes)
		if m.rate != step.rate || !m.grown.Equal(at(step.grown)) {
			t.Errorf("at %d s, %d bytes: %v bit/s, grown at %d s; want %v, %d", step.at, step.bytes, m.rate, m.grown.Unix(), step.rate, step.grown)
		}
	}
}
