package rig

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"sluice/perf/lab"
	"sluice/perf/load"
)

func TestMain(m *testing.M) {
	if err := lab.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestYardsticks runs two yardsticks in the lab and one on loopback: every packet must arrive or be counted where it is discarded, and
// what a full viewer gets must decrypt.
func TestYardsticks(t *testing.T) {
	t.Chdir("../..")
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, place := range map[string]Place{"yardstick": {Lab: l}, "yardstick-c": {Lab: l}, "floor": {}} {
		t.Run(name, func(t *testing.T) {
			k, err := Lookup(name)
			if err != nil {
				t.Fatal(err)
			}
			if k.Optional() && runtime.GOARCH != "amd64" {
				t.Skip("its cipher is for amd64 only")
			}
			if err := k.Build(t.Context()); err != nil {
				t.Fatal(err)
			}
			try(t, k, place)
		})
	}
}

func try(t *testing.T, k Kind, place Place) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := k.Start(ctx, place, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	r, err := load.Run(ctx, load.Plan{
		Target: server.Target("test"), Media: load.Media{FPS: 50, PPF: 5, Size: 1200}, Viewers: 3, Full: 1, Window: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := r.Counts
	if c.Sent == 0 || c.Lost != 0 || c.Delivered == 0 || c.Corrupt != 0 || c.Duplicates != 0 || c.GeneratorDrops != 0 {
		t.Errorf("counts are %+v", c)
	}
	if c.Latency.Max <= 0 || c.Frames.Whole == 0 || c.CPUSeconds <= 0 {
		t.Errorf("figures are missing: %+v", c)
	}
}
