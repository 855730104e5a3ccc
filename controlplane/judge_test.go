package controlplane

import (
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	const window, permille = 10 * time.Second, 990
	var j judge
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		at         time.Duration
		sent, late uint64
		ended      bool
		want       verdict
	}{
		{0, 100, 100, false, verdict{}}, // before the first window
		{9 * time.Second, 200, 200, false, verdict{}},
		{10 * time.Second, 50, 5, false, verdict{}}, // counts anew: another shard
		{20 * time.Second, 1050, 15, true, verdict{Sent: 1000, Late: 10}},
		{29 * time.Second, 1900, 20, false, verdict{Sent: 1000, Late: 10}},
		{31 * time.Second, 2050, 26, true, verdict{Sent: 1000, Late: 11, Exceeded: true}},
		{41 * time.Second, 2050, 26, true, verdict{}}, // nothing was sent
	} {
		if ended := j.see(start.Add(c.at), window, permille, c.sent, c.late); ended != c.ended || j.verdict != c.want {
			t.Errorf("after %v: ended %v, %+v; want %v, %+v", c.at, ended, j.verdict, c.ended, c.want)
		}
	}
}
