package dataplane

import (
	"strconv"
	"strings"
	"testing"

	"sluice/dataplane/engine"
)

// The shards account for their time: what the stages sum up to is the time that
// passed, as often as one looks.
func TestStagesSumUpToTheTimeThatPasses(t *testing.T) {
	const shards = 2
	tree := newTree(t, "dataplane/shards=2")
	p := start(t, tree, ignore)
	sendTo(t, p)
	await(t, "the datagram", func() bool { return unknown(p) == 1 })
	read := func() map[string]float64 {
		text, err := tree.Get("loop_seconds")
		if err != nil {
			t.Fatal(err)
		}
		stages := map[string]float64{}
		for line := range strings.Lines(text) {
			stage, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			if stages[stage], err = strconv.ParseFloat(value, 64); err != nil {
				t.Fatal(err)
			}
		}
		return stages
	}
	sum := func(stages map[string]float64) (all float64) {
		for _, v := range stages {
			all += v
		}
		return all
	}
	first := read()
	for _, stage := range []string{"receive", "decrypt", "commands"} {
		if first[stage] <= 0 {
			t.Errorf("stage %s took no time: %v", stage, first)
		}
	}
	if len(first) != int(engine.NumStages) {
		t.Errorf("%d stages: %v", len(first), first)
	}
	began := sum(first)
	await(t, "a tenth of a second of both shards", func() bool { return sum(read()) > began+0.1*shards })
	if text, _ := tree.Get("loop_turn_seconds"); !strings.Contains(text, "\ncount ") || strings.Contains(text, "\ncount 0\n") {
		t.Errorf("turns: %s", text)
	}
}
