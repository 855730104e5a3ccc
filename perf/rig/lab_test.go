package rig

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"sluice/perf/lab"
	"sluice/perf/load"
)

func TestMain(m *testing.M) { lab.Test(m.Run) }

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

// TestCalls has the yardstick use the kernel in each way that it can: the same packets arrive.
func TestCalls(t *testing.T) {
	t.Chdir("../..")
	k, err := Lookup("yardstick")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, calls := range []string{"sendto", "mmsg", "gso", "gro"} {
		t.Run(calls, func(t *testing.T) { try(t, k, Place{}, "calls="+calls) })
	}
}

// TestSet writes an attribute of Sluice in the lab, where only a token lets this process, and one that there is not.
func TestSet(t *testing.T) {
	t.Chdir("../..")
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	k, err := Lookup("sluice")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	server, err := k.Start(t.Context(), Place{Lab: l}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	if err := server.Set(t.Context(), "dataplane/gso", "0"); err != nil {
		t.Error(err)
	}
	if err := server.Set(t.Context(), "dataplane/gso", "2"); err == nil || !strings.Contains(err.Error(), "dataplane/gso") {
		t.Errorf("a bad value: %v", err)
	}
}

// TestJanus runs Janus, where it is installed, in the lab and beside us.
func TestJanus(t *testing.T) {
	t.Chdir("../..")
	k, err := Lookup("janus")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Build(t.Context()); err != nil {
		t.Skip(err)
	}
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Run("transmit", func(t *testing.T) { try(t, k, Place{Lab: l}) })
	t.Run("loopback", func(t *testing.T) { try(t, k, Place{}) })
}

func try(t *testing.T, k Kind, place Place, attrs ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := k.Start(ctx, place, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	for _, a := range attrs {
		path, value, _ := strings.Cut(a, "=")
		if err := server.Set(ctx, path, value); err != nil {
			t.Fatal(err)
		}
	}
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
