package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// player is what the page's <video id="player"> shows at one moment.
type player struct {
	State  string // data-state
	Frames int    // decoded so far
	Look   string // the picture, very small
	Wide   int    // width of the whole page, CSS pixels
	Text   string // what the page says, for a failing test
}

const lookAtPlayer = `(() => {
	const video = document.getElementById('player');
	const canvas = Object.assign(document.createElement('canvas'), {width: 16, height: 12});
	if (video?.videoWidth) canvas.getContext('2d').drawImage(video, 0, 0, 16, 12);
	return {
		State: video ? String(video.dataset.state) : 'no element with id player',
		Frames: video?.getVideoPlaybackQuality().totalVideoFrames ?? 0,
		Look: canvas.toDataURL(),
		Wide: document.documentElement.scrollWidth,
		Text: document.body?.innerText ?? '',
	};
})()`

// TestPage opens the product's own page on a phone and on a desk. The viewers
// come first: the page waits for a stream by itself.
func TestPage(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	d := l.chromium.inspect(t)
	dir := t.ArtifactDir()
	widths := []int{360, 1280}
	var viewers []*tab
	for _, width := range widths {
		viewers = append(viewers, d.open(t, s.url+"/#watch=stage", width))
	}
	publisher := d.open(t, s.url+"/#publish=stage&source=canvas", 1280)
	for i, viewer := range viewers {
		viewer.awaitPlaying(t)
		viewer.screenshot(t, filepath.Join(dir, fmt.Sprintf("watch-%d.png", widths[i])))
		viewer.check(t, widths[i])
	}
	publisher.screenshot(t, filepath.Join(dir, "publish-1280.png"))
	publisher.check(t, 1280)
	for _, width := range widths {
		front := d.open(t, s.url+"/", width)
		front.awaitText(t, "stage")
		front.screenshot(t, filepath.Join(dir, fmt.Sprintf("front-%d.png", width)))
		front.check(t, width)
	}
}

// awaitPlaying waits until the player says that it plays, has decoded frames
// since, and shows another picture than at first.
func (p *tab) awaitPlaying(t *testing.T) {
	t.Helper()
	var first, now player
	p.poll(t, func() bool {
		p.evaluate(t, lookAtPlayer, &now)
		if now.State != "playing" {
			return false
		}
		if first.State == "" {
			first = now
		}
		return now.Frames-first.Frames >= smooth && now.Look != first.Look
	}, func() string {
		return fmt.Sprintf("the player does not play: state %q, %d frames decoded; the page says:\n%s", now.State, now.Frames, now.Text)
	})
}

// awaitText waits until the page shows the text.
func (p *tab) awaitText(t *testing.T, text string) {
	t.Helper()
	shown := false
	p.poll(t, func() bool {
		p.evaluate(t, fmt.Sprintf("!!document.body?.innerText.includes(%q)", text), &shown)
		return shown
	}, func() string { return fmt.Sprintf("the page does not show %q", text) })
}

// check fails if the page is wider than the window or has thrown an exception.
func (p *tab) check(t *testing.T, width int) {
	t.Helper()
	var now player
	p.evaluate(t, lookAtPlayer, &now)
	if now.Wide > width {
		t.Errorf("in a window of %d pixels the page is %d pixels wide", width, now.Wide)
	}
	for _, e := range p.exceptions() {
		t.Errorf("the page threw: %s", e)
	}
}

// poll asks the page again and again: it does not know that it is tested, so
// it cannot tell by itself.
func (p *tab) poll(t *testing.T, ok func() bool, otherwise func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(250 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, e := range p.exceptions() {
				t.Errorf("the page threw: %s", e)
			}
			t.Fatal(otherwise())
		}
	}
}
