package load

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sluice/perf/proc"
)

// TestOverTCP runs publisher and viewers over ICE-TCP against the server itself: on a clean path everything arrives, in order.
func TestOverTCP(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "sluice")
	if out, err := exec.Command("go", "build", "-o", binary, "sluice/cmd/appliance").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	server, err := proc.Start(t.Context(), proc.Here, addr, t.Output(), binary, "run",
		"--http", addr, "--admin", "127.0.0.1:0", "--media", "127.0.0.1:0", "--set", "http/tls_listen=off")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Run(ctx, Plan{
		Target:  Target{WHIP: "http://" + addr + "/whip/test", WHEP: "http://" + addr + "/whep/test", PID: server.PID(), TCP: true},
		Media:   Media{FPS: 30, PPF: 9, Size: 1150},
		Viewers: 5, Full: 2, Serial: 2, Window: 3 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := r.Counts
	if c.Sent == 0 || c.Delivered != 5*c.Sent || c.Corrupt+c.Duplicates+c.Reordered != 0 {
		t.Errorf("of %d sent %d were delivered to 5 viewers; %d corrupt, %d twice, %d out of order", c.Sent, c.Delivered, c.Corrupt, c.Duplicates, c.Reordered)
	}
	if len(r.Ended) != 0 {
		t.Errorf("ended early: %v", r.Ended)
	}
}
