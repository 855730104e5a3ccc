package load

import (
	"testing"
	"time"

	"sluice/perf/proc"
)

func TestSinceCountsExactly(t *testing.T) {
	full, filtered := &Viewer{&viewer{full: true}}, &Viewer{&viewer{}}
	before := mark{sent: [kinds]uint64{100, 1000}, viewers: []arrivals{
		{delivered: 500, unique: 490, duplicates: 2, reordered: 1, corrupt: 4, overflow: 5}, {delivered: 70},
	}}
	after := mark{sent: [kinds]uint64{150, 1270}, viewers: []arrivals{
		{delivered: 900, unique: 807, duplicates: 5, reordered: 2, corrupt: 4, overflow: 6}, {delivered: 391},
	}}
	got := after.since(before, []*Viewer{full, filtered})
	want := Counts{Sent: 320, Delivered: 317 + 321, Lost: 3 - 1, Worst: 3, Duplicates: 3, Reordered: 1, GeneratorDrops: 1}
	if got != want {
		t.Fatalf("counts are %+v, want %+v", got, want)
	}
	if share := got.LossShare(); share != 2.0/640 {
		t.Fatalf("loss share is %g", share)
	}
}

func TestCost(t *testing.T) {
	at := time.Now()
	before := usage{at: at, machine: time.Second}
	after := usage{
		at: at.Add(10 * time.Second), machine: 8 * time.Second,
		server: proc.CPU{Total: 3 * time.Second, User: time.Second, Sys: 2 * time.Second}, own: proc.CPU{Total: 2 * time.Second},
	}
	c := Counts{Seconds: 10, Delivered: 1e6}
	c.cost(before, after)
	if c.MicrosPerPacket() != 3 || c.Cores() != 0.3 || c.OwnCores != 0.2 || c.OtherCores != 0.2 || c.UserShare != 1.0/3 {
		t.Fatalf("cost is %+v", c)
	}
}
