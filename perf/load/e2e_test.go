package load

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sluice/perf/proc"
)

// TestAgainstBaseline runs the whole generator against the hand-written pion forwarder with both kinds of viewer.
func TestAgainstBaseline(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "baseline")
	if out, err := exec.Command("go", "build", "-o", binary, "sluice/perf/baseline").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	server, err := proc.Start(t.Context(), proc.Here, addr, t.Output(), binary, "-http", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	plan := Plan{
		Target:  Target{WHIP: "http://" + addr + "/whip/test", WHEP: "http://" + addr + "/whep/test", PID: server.PID()},
		Media:   Media{FPS: 30, PPF: 9, Size: 1150, Spread: 10 * time.Millisecond},
		Viewers: 5, Full: 2, Serial: 2, Window: 3 * time.Second,
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Run(ctx, plan)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Counts
	if c.Sent == 0 || c.Delivered == 0 || c.Worst >= int64(c.Sent) {
		t.Errorf("sent %d, delivered %d, worst viewer lost %d", c.Sent, c.Delivered, c.Worst)
	}
	if c.Corrupt != 0 || c.Duplicates != 0 {
		t.Errorf("%d corrupt packets, %d duplicates", c.Corrupt, c.Duplicates)
	}
	if c.Latency.Max <= 0 || c.CPUSeconds <= 0 || r.RSS.Publisher <= 0 || r.FirstVideo.Median <= 0 || r.FirstKeyframe.Max < r.FirstVideo.Median {
		t.Errorf("figures are missing: %+v", r)
	}
	if r.Feedback.PLI == 0 || r.Feedback.TWCC == 0 {
		t.Errorf("publisher got %+v, want keyframe requests and transport-cc", r.Feedback)
	}
	if len(r.Ended) != 0 {
		t.Errorf("ended early: %v", r.Ended)
	}
}
