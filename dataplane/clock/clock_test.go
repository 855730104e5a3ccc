package clock

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// units returns d in NTP units of 2^-32 s, rounded towards zero: the slow twin.
func units(d time.Duration) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(int64(d)), 32)
	return n.Quo(n, big.NewInt(int64(time.Second)))
}

// durations are edges and a spread over the 68 years that differences hold.
func durations() []time.Duration {
	const years68 = math.MaxInt32 * time.Second
	all := []time.Duration{0, 1, -1, time.Second - 1, time.Second, time.Second + 1, 1 - time.Second, -time.Second, -time.Second - 1, years68, -years68}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		all = append(all, time.Duration(r.Int64N(int64(years68)))>>r.UintN(62), -time.Duration(r.Int64N(int64(years68)))>>r.UintN(62))
	}
	return all
}

func TestNTPAdd(t *testing.T) {
	for _, start := range []NTP{0, 1 << 63, math.MaxUint64, 0xe8d4a51000000000} {
		for _, d := range durations() {
			want := start + NTP(units(d).Int64())
			if got := start.Add(d); got != want {
				t.Fatalf("%#x.Add(%d) = %#x, want %#x", start, d, got, want)
			}
		}
	}
}

// Sub undoes Add to the nanosecond that the units of 2^-32 s, a quarter of one,
// allow; also over the end of the era in 2036, where the seconds wrap.
func TestNTPSub(t *testing.T) {
	for _, start := range []NTP{0, 1 << 63, math.MaxUint64, 0xffffffff_80000000} {
		for _, d := range durations() {
			if got := start.Add(d).Sub(start); got < d-1 || got > d+1 {
				t.Fatalf("from %#x: %d came back as %d", start, d, got)
			}
			if got := start.Sub(start.Add(d)); got < -d-1 || got > -d+1 {
				t.Fatalf("from %#x: %d came back as %d", start, -d, got)
			}
		}
	}
}

func TestNTPSubAgainstTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 10000 {
		n, m := NTP(r.Uint64()), NTP(r.Uint64())
		want := new(big.Int).Mul(big.NewInt(int64(n-m)), big.NewInt(int64(time.Second)))
		want.Rsh(want, 32) // rounds down
		if got := n.Sub(m); int64(got) != want.Int64() {
			t.Fatalf("%#x.Sub(%#x) = %d, want %v", n, m, got, want)
		}
	}
}

func TestFromWall(t *testing.T) {
	for _, c := range []struct {
		wall string
		want NTP
	}{
		{"1900-01-01T00:00:00Z", 0},
		{"1970-01-01T00:00:00Z", 2208988800 << 32},
		{"2000-01-01T00:00:00.5Z", 3155673600<<32 | 1<<31},
		{"2036-02-07T06:28:15.75Z", 0xffffffff_c0000000},
		{"2036-02-07T06:28:16Z", 0}, // the next era (RFC 5905 section 6)
		{"2036-02-07T07:28:17+01:00", 1 << 32},
		// The example time of a sender report in RFC 3550 section 6.4.1.
		{"1995-11-10T11:33:25.125Z", 0xb44db705_20000000},
	} {
		wall, err := time.Parse(time.RFC3339Nano, c.wall)
		if err != nil {
			t.Fatal(err)
		}
		if got := FromWall(wall); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.wall, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 10000 {
		secs, nanos := r.Int64N(1<<33), r.Int64N(int64(time.Second))
		want := NTP(secs+2208988800)<<32 + NTP(units(time.Duration(nanos)).Int64())
		if got := FromWall(time.Unix(secs, nanos)); got != want {
			t.Fatalf("%d s and %d ns: %#x, want %#x", secs, nanos, got, want)
		}
	}
}

// The round-trip example of RFC 3550 section 6.4.1 is told in middle bits.
func TestMid(t *testing.T) {
	if got := NTP(0xb44db705_20000000).Mid(); got != 0xb705_2000 {
		t.Errorf("%#x", got)
	}
}

func TestTime(t *testing.T) {
	const at = Time(5 * time.Second)
	if got := at.Add(-2 * time.Second); got != Time(3*time.Second) {
		t.Errorf("Add: %d", got)
	}
	if got := at.Sub(at.Add(time.Hour)); got != -time.Hour {
		t.Errorf("Sub: %v", got)
	}
	// A process would have to run 292 years to reach it.
	if Never != math.MaxInt64 {
		t.Errorf("instants lie after Never (%d)", Never)
	}
}
