package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Threads may be woken late, the runtime's monitor very late. Shards are woken by
// timers that know no slack (TestTimerKnowsNoSlack in dataplane/internal/poll).
func TestTimerSlack(t *testing.T) {
	p := launch(t, "--set", "dataplane/shards=2")
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/task/*")
	if err != nil || len(tasks) < 4 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	threads := map[string]int{}
	for _, task := range tasks {
		slack, err := os.ReadFile("/proc/" + filepath.Base(task) + "/timerslack_ns")
		if errors.Is(err, os.ErrPermission) {
			t.Skip("reading it of other processes takes CAP_SYS_NICE")
		}
		threads[strings.TrimSpace(string(slack))]++
	}
	if threads["1000000000"] != 1 || threads["4000000"] != len(tasks)-1 {
		t.Errorf("threads by slack in ns: %v; want 1 of 1000000000, all others of 4000000", threads)
	}
}
