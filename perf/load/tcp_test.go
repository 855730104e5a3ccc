package load

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/perf/client"
	"sluice/perf/proc"
)

// startSluice starts the server itself; admin is where its figures are.
func startSluice(t *testing.T) (target Target, admin string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sluice")
	if out, err := exec.Command("go", "build", "-o", binary, "sluice/cmd/appliance").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	addr, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	if admin, err = proc.FreeAddr(); err != nil {
		t.Fatal(err)
	}
	server, err := proc.Start(t.Context(), proc.Here, addr, t.Output(), binary, "run",
		"--http", addr, "--admin", admin, "--media", "127.0.0.1:0", "--set", "http/tls_listen=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	return Target{WHIP: "http://" + addr + "/whip/test", WHEP: "http://" + addr + "/whep/test", PID: server.PID(), TCP: true, TCPPublish: true}, admin
}

// TestOverTCP runs publisher and viewers over ICE-TCP against the server itself: on a clean path everything arrives, in order.
func TestOverTCP(t *testing.T) {
	target, _ := startSluice(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Run(ctx, Plan{
		Target:  target,
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

// TestStalledOverTCP has one viewer that reads nothing for a while: it skips when it reads again, and nobody else loses anything.
func TestStalledOverTCP(t *testing.T) {
	target, admin := startSluice(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := Open(ctx, target, Media{FPS: 30, PPF: 20, Size: 1150})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(ctx)
	var viewers []*Viewer
	for range 3 {
		v, err := b.Join(ctx, true)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Leave(ctx, v)
		if err := b.AwaitMedia(ctx, v); err != nil {
			t.Fatal(err)
		}
		viewers = append(viewers, v)
	}
	stalled, err := client.Dial(ctx, http.DefaultClient, target.WHEP, client.Offer{TCP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close(ctx)
	w, err := b.Begin(viewers)
	if err != nil {
		t.Fatal(err)
	}
	const stall, interval = 5 * time.Second, 100 * time.Millisecond
	var buf client.Batch
	for begun := time.Now(); figure(t, ctx, admin, "sluice_tcp_skipped_frames_total") == "0"; time.Sleep(interval) {
		if ctx.Err() != nil {
			t.Fatal("the viewer that read nothing for a while does not skip")
		}
		for got := 1; got > 0 && time.Since(begun) > stall; {
			d, err := stalled.Recv(&buf)
			if err != nil {
				t.Fatal(err)
			}
			got = len(d)
		}
	}
	c, err := w.End()
	if err != nil {
		t.Fatal(err)
	}
	if c.Sent == 0 || c.Delivered != 3*c.Sent || c.Corrupt+c.Duplicates+c.Reordered != 0 {
		t.Errorf("of %d sent %d were delivered to 3 viewers; %d corrupt, %d twice, %d out of order", c.Sent, c.Delivered, c.Corrupt, c.Duplicates, c.Reordered)
	}
}

// figure reads one value of the server's metrics.
func figure(t *testing.T, ctx context.Context, admin, name string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in the metrics", name)
	return ""
}
