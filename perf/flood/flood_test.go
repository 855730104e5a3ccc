package main

import (
	"testing"
	"time"

	"sluice/perf/lab"
	"sluice/perf/rig"
)

func TestMain(m *testing.M) { lab.Test(m.Run) }

// TestFloods is a short and slow form of the command. Latency is not judged: a machine that runs tests is busy with others.
func TestFloods(t *testing.T) {
	t.Chdir("../..")
	kind, err := rig.Lookup("sluice")
	if err != nil {
		t.Fatal(err)
	}
	if err := kind.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), options{rate: 20_000, viewers: 3, length: time.Second}, kind, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.all(t.Context(), func(r result) { t.Log(r) }); err != nil {
		t.Error(err)
	}
}
