package controlplane

import (
	"testing"
	"time"

	"sluice/dataplane/engine"
)

// A shard's work is judged by what it did since the last look.
func TestWork(t *testing.T) {
	var w work
	st := &engine.Stats{}
	for _, step := range []struct {
		stage engine.Stage
		spent time.Duration
		want  int64
	}{
		{engine.StageSleep, time.Second, 0},
		{engine.StageSend, time.Second, 100},
		{engine.StageSpin, time.Second, 0},
		{engine.StageFanOut, 0, 0},
	} {
		st.Loop.Stages[step.stage] += step.spent
		if got := w.percent(st); got != step.want {
			t.Errorf("%v in %v: worked for %d %%, want %d", step.spent, step.stage, got, step.want)
		}
	}
	st.Loop.Stages[engine.StageReceive] += time.Second
	st.Loop.Stages[engine.StageSleep] += 3 * time.Second
	if got := w.percent(st); got != 25 {
		t.Errorf("worked for %d %%, want 25", got)
	}
	if got := w.percent(nil); got != 100 {
		t.Errorf("a shard that does not answer worked for %d %%", got)
	}
}
