package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

const (
	hostV4 = "10.77.0.1"
	hostV6 = "fd00:77::1"
)

// cell is one line of a matrix's table.
type cell struct {
	of, publisher, viewer, result string
}

// TestMatrix lets each browser publish each codec it can send to a viewer in
// each browser that can receive it. One publisher feeds both viewers.
func TestMatrix(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	var table []cell
	t.Cleanup(func() { l.printTable(t, "codecs", table) })
	for _, codec := range []string{"video/VP8", "video/VP9", "video/H264", "video/AV1"} {
		t.Run(strings.TrimPrefix(codec, "video/"), func(t *testing.T) {
			table = append(table, l.row(t, s, codec)...)
		})
	}
}

// row plays all cells of one codec at once.
func (l *lab) row(t *testing.T, s *server, codec string) []cell {
	var cells []cell
	var viewers []*peer
	for _, publisher := range l.browsers() {
		if !publisher.sends(codec) {
			cells = append(cells, cell{codec, publisher.name, "-", "skipped: the publisher's browser cannot send it"})
			continue
		}
		stream := publisher.name + "-" + strings.TrimPrefix(codec, "video/")
		// A camera once, because a browser that gave its camera also tells its addresses.
		source := "canvas"
		if codec == "video/VP8" {
			source = "camera"
		}
		publisher.open(t, peerSpec{role: "publish", url: s.whip(stream), codec: codec, source: source})
		for _, viewer := range l.browsers() {
			c := cell{codec, publisher.name, viewer.name, "failed"}
			if !viewer.receives(codec) {
				c.result = "skipped: the viewer's browser cannot receive it"
				cells = append(cells, c)
				continue
			}
			cells = append(cells, c)
			viewers = append(viewers, viewer.open(t, peerSpec{role: "watch", url: s.whep(stream)}))
		}
	}
	judge(t, cells, viewers, func(v *peer) (string, error) {
		err := v.wait(playing("av", codec))
		return v.newest().summary(), err
	})
	return cells
}

// judge judges all viewers at once and writes their results into the cells that
// were not skipped, which stand in the same order.
func judge(t *testing.T, cells []cell, viewers []*peer, verdict func(*peer) (summary string, err error)) {
	summaries, errs := make([]string, len(viewers)), make([]error, len(viewers))
	var wait sync.WaitGroup
	for i, v := range viewers {
		wait.Go(func() { summaries[i], errs[i] = verdict(v) })
	}
	wait.Wait()
	for i, next := 0, 0; i < len(cells); i++ {
		c := &cells[i]
		if c.result != "failed" {
			continue
		}
		summary, err := summaries[next], errs[next]
		next++
		t.Run(c.publisher+"-to-"+c.viewer, func(t *testing.T) {
			if err != nil {
				c.result += ": " + summary
				t.Fatalf("%v\n%s", err, summary)
			}
			t.Log(summary)
			c.result = "ok: " + summary
		})
	}
}

// printTable logs a table and keeps it as an artifact, with the browsers that
// it speaks of.
func (l *lab) printTable(t *testing.T, name string, table []cell) {
	var b strings.Builder
	for _, browser := range l.browsers() {
		fmt.Fprintf(&b, "%s: %s\n", browser.name, browser.hello.UserAgent)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, name+"\tpublisher\tviewer\tresult")
	for _, c := range table {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.of, c.publisher, c.viewer, c.result)
	}
	w.Flush()
	t.Logf("publisher x viewer x %s\n%s", name, b.String())
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".txt"), []byte(b.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// TestViewerBeforePublisher: the viewer gets 409 with Retry-After, comes again
// and plays.
func TestViewerBeforePublisher(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	viewer := l.chromium.open(t, peerSpec{role: "watch", url: s.whep("early")})
	viewer.await(t, "to be told to wait", func(rs []report) string {
		if state := rs[len(rs)-1].State; state != "waiting" {
			return "state is " + state
		}
		return ""
	})
	if after := viewer.newest().RetryAfter; after == nil {
		t.Error("409 shows no Retry-After to a page of another origin: Access-Control-Expose-Headers must name it")
	}
	l.firefox.open(t, peerSpec{role: "publish", url: s.whip("early")})
	viewer.await(t, "to play", playing("av", ""))
}

// TestCounterOffer: a browser that offers VP8 alone to watch VP9 gets 406 with an
// offer of the server's, answers that by PATCH and plays.
func TestCounterOffer(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	l.chromium.open(t, peerSpec{role: "publish", url: s.whip("counter"), codec: "video/VP9"})
	for _, b := range l.browsers() {
		viewer := b.open(t, peerSpec{role: "watch", url: s.whep("counter"), codec: "video/VP8"})
		viewer.await(t, "to play", playing("av", "video/VP9"))
		if !viewer.newest().Countered {
			t.Errorf("%s played without a counter-offer", b.name)
		}
	}
}

// TestPublisherRestart: viewers keep their PeerConnection while the publisher
// goes and another browser comes in its place.
func TestPublisherRestart(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	publish := peerSpec{role: "publish", url: s.whip("restart"), codec: "video/VP8"}
	first := l.firefox.open(t, publish)
	var viewers []*peer
	for _, b := range l.browsers() {
		viewers = append(viewers, b.open(t, peerSpec{role: "watch", url: s.whep("restart")}))
	}
	for _, v := range viewers {
		v.await(t, "to play", playing("av", "video/VP8"))
	}
	first.hangup(t)
	seen := make([]int, len(viewers))
	for i, v := range viewers {
		seen[i] = v.count()
	}
	l.chromium.open(t, publish)
	for i, v := range viewers {
		// Only reports from after the restart count.
		v.await(t, "to play on after the restart", func(rs []report) string {
			if len(rs) <= seen[i] {
				return "no report since the restart"
			}
			return playing("av", "video/VP8")(rs[seen[i]:])
		})
	}
}

// TestDrain: a server that is asked to end says so to its peers, in DTLS
// close_notify: without it a page would learn of the end by silence only.
func TestDrain(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	peers := []*peer{l.chromium.open(t, peerSpec{role: "publish", url: s.whip("drain")})}
	for _, b := range l.browsers() {
		viewer := b.open(t, peerSpec{role: "watch", url: s.whep("drain")})
		viewer.await(t, "to play", playing("av", ""))
		peers = append(peers, viewer)
	}
	s.end(t)
	for _, p := range peers {
		p.await(t, "to see the end", func(rs []report) string {
			if state := rs[len(rs)-1].DTLS; state != "closed" {
				return "DTLS state is " + state
			}
			return ""
		})
	}
}

// TestIPv6: both browsers reach a server that has no IPv4 address at all.
func TestIPv6(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV6)
	l.chromium.open(t, peerSpec{role: "publish", url: s.whip("six")})
	for _, b := range l.browsers() {
		viewer := b.open(t, peerSpec{role: "watch", url: s.whep("six")})
		viewer.await(t, "to play", playing("av", ""))
		if remote := net.ParseIP(strings.Trim(viewer.newest().Remote, "[]")); !remote.Equal(net.ParseIP(hostV6)) {
			t.Errorf("%s receives from %q, want %s", b.name, viewer.newest().Remote, hostV6)
		}
	}
}

// TestKinds: streams with only a picture, or only sound.
func TestKinds(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	for _, kinds := range []string{"v", "a"} {
		publisher, viewer := l.chromium, l.firefox
		if kinds == "a" {
			publisher, viewer = viewer, publisher
		}
		t.Run(map[string]string{"v": "video only", "a": "audio only"}[kinds], func(t *testing.T) {
			publisher.open(t, peerSpec{role: "publish", url: s.whip("only-" + kinds), kinds: kinds})
			// The viewer does not know what is published, and offers both.
			v := viewer.open(t, peerSpec{role: "watch", url: s.whep("only-" + kinds)})
			v.await(t, "to play", playing(kinds, ""))
		})
	}
}

// TestLoopback: a browser and the server on one machine without a network.
func TestLoopback(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, "127.0.0.1")
	if err := l.serveStage(l.servers); err != nil {
		t.Fatal(err)
	}
	b, err := l.director.launch(l.servers, t.TempDir(), "chromium-loopback", "--allow-loopback-in-peer-connection")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.proc.stop(patience) })
	b.open(t, peerSpec{role: "publish", url: s.whip("loop")})
	viewer := b.open(t, peerSpec{role: "watch", url: s.whep("loop")})
	viewer.await(t, "to play", playing("av", ""))
	if remote := viewer.newest().Remote; remote != "127.0.0.1" {
		t.Errorf("receives from %q, want 127.0.0.1", remote)
	}
}
