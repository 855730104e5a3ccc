package load

import (
	"reflect"
	"testing"
	"time"

	"sluice/perf/proc"
)

func TestSinceCountsExactly(t *testing.T) {
	full, filtered := &Viewer{&viewer{full: true}}, &Viewer{&viewer{stream: 1}}
	before := mark{sent: []uint64{1100, 0}, sound: []uint64{100, 0}, viewers: []arrivals{
		{delivered: 500, unique: 490, sound: 80, duplicates: 2, reordered: 1, corrupt: 4, overflow: 5}, {delivered: 70},
	}}
	after := mark{sent: []uint64{1420, 320}, sound: []uint64{150, 50}, viewers: []arrivals{
		{delivered: 900, unique: 807, sound: 129, duplicates: 5, reordered: 2, corrupt: 4, overflow: 6, frames: frames{whole: 3}}, {delivered: 391},
	}}
	got := after.since(before, []*Viewer{full, filtered})
	want := Counts{
		Sent: 640, Due: 640, Delivered: 317 + 321, Lost: 3 - 1, Worst: 3, SoundDue: 50, SoundLost: 1, Duplicates: 3, Reordered: 1, GeneratorDrops: 1,
		Frames: Frames{Whole: 3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("counts are %+v, want %+v", got, want)
	}
	if share := got.LossShare(); share != 2.0/640 {
		t.Fatalf("loss share is %g", share)
	}
}

func TestSinceCountsWhatWasDiscarded(t *testing.T) {
	viewers := []*Viewer{{&viewer{full: true}}, {&viewer{}}, {&viewer{}}}
	before := mark{sent: []uint64{10}, sound: []uint64{0}, dropped: 5, viewers: make([]arrivals, 3)}
	after := mark{sent: []uint64{110}, sound: []uint64{0}, dropped: 204, viewers: []arrivals{{delivered: 100, unique: 100}, {}, {}}}
	got := after.since(before, viewers)
	if got.Due != 300 || got.Delivered != 299 || got.Lost != 1 || got.Worst != 0 {
		t.Fatalf("counts are %+v", got)
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
