package fair

import (
	"net/netip"
	"testing"
	"time"

	"sluice/controlplane/subnet"
	"sluice/netopt/attr"
)

func newTree(t *testing.T, sets map[string]string) *attr.Tree {
	tree := attr.NewTree(&Attrs)
	for path, value := range sets {
		if err := tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// A source may do it as often at once as in a period, and then as the time goes
// by; others do not notice.
func TestQuota(t *testing.T) {
	q := NewGuesses(newTree(t, map[string]string{"limits/token_guesses_per_minute": "6"}))
	now := time.Unix(1e9, 0)
	q.now = func() time.Time { return now }
	one, other := subnet.Of(netip.MustParseAddr("192.0.2.1")), subnet.Of(netip.MustParseAddr("192.0.2.2"))
	do := func(source netip.Prefix, want int) {
		t.Helper()
		done := 0
		for ; q.wait(source) <= 0; done++ {
			q.use(source)
		}
		if done != want {
			t.Errorf("%v did it %d times, want %d", source, done, want)
		}
	}
	do(one, 6)
	if wait := q.wait(one); wait != 10*time.Second {
		t.Errorf("%v until the next", wait)
	}
	do(other, 6)
	now = now.Add(20 * time.Second)
	do(one, 2)
	now = now.Add(time.Hour)
	do(one, 6)
	if q.refused != 5 {
		t.Errorf("%d refusals are counted", q.refused)
	}
}

// Addresses of one IPv6 network are one source, those of IPv4 and of a unix socket
// each their own.
func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"2001:db8::1", "2001:db8::ffff:2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1:5", "[::ffff:192.0.2.1]:6", true},
		{"@", "", true},
		{"@", "127.0.0.1", false},
	} {
		if same := subnet.Of(parseSource(c.a)) == subnet.Of(parseSource(c.b)); same != c.same {
			t.Errorf("%s and %s are one source: %v", c.a, c.b, same)
		}
	}
}

// However many sources there are, what is kept is bounded, all beyond are one, and
// those that come back after a while have places again.
func TestQuotaOfManySources(t *testing.T) {
	q := NewPatches(newTree(t, map[string]string{"limits/patches_per_second": "2"}))
	now := time.Unix(1e9, 0)
	q.now = func() time.Time { return now }
	source := func(i int) netip.Prefix {
		return subnet.Of(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	for i := range maxSources {
		q.use(source(i))
	}
	q.use(source(maxSources))
	q.use(source(maxSources + 1))
	if wait := q.wait(source(maxSources + 2)); wait <= 0 || len(q.used) > maxSources+1 {
		t.Errorf("wait %v, %d sources are kept", wait, len(q.used))
	}
	if wait := q.wait(source(5)); wait > 0 {
		t.Errorf("one that was there before waits %v", wait)
	}
	now = now.Add(2 * time.Second)
	if wait := q.wait(source(maxSources + 2)); wait > 0 || len(q.used) > 0 {
		t.Errorf("later: wait %v, %d sources are kept", wait, len(q.used))
	}
}
