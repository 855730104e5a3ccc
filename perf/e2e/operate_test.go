package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// operator is what the operator's page shows at one moment.
type operator struct {
	Health string
	Demo   string // the card of the built-in stream
	Bars   int    // of its histogram
	Shards int
	Viewer string // the row of the session that watches
	Tree   string // paths that are shown
	Wide   int
	Text   string
}

const lookAtOperator = `(() => {
	const card = [...document.querySelectorAll('#latency > li')].find((li) => li.querySelector('.name').textContent === 'demo');
	return {
		Health: document.getElementById('health')?.dataset.state ?? 'no element with id health',
		Demo: card?.innerText ?? '',
		Bars: card?.querySelectorAll('.bar').length ?? 0,
		Shards: document.querySelectorAll('#shards tr[data-answers="true"]').length,
		Viewer: [...document.querySelectorAll('#sessions tr')].map((tr) => tr.innerText).find((text) => text.includes('viewer')) ?? '',
		Tree: [...document.querySelectorAll('#tree h4')].map((h) => h.textContent).join(' '),
		Wide: document.documentElement?.scrollWidth ?? 0,
		Text: document.body?.innerText ?? '',
	};
})()`

// reported is the end of a session's row: loss, jitter and round trip as its peer
// reports them.
var reported = regexp.MustCompile(`[0-9] %\s+[0-9.]+ (µs|ms)\s+[0-9.]+ (µs|ms)\s*$`)

// TestOperatorsPage opens the operator's page, as wide as a phone and as a desk,
// in light and dark, while somebody watches the built-in stream: the latency of
// that stream is drawn, the shards answer, the viewer is listed with what it reports, and the tree is found by typing.
func TestOperatorsPage(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	d := l.chromium.inspect(t)
	d.open(t, s.url+"/", 360).awaitPlaying(t)
	for width, scheme := range map[int]string{360: "dark", 1280: "light"} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			p := d.open(t, "http://"+net.JoinHostPort(hostV4, "9080")+"/", width)
			p.must(t, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
			var now operator
			p.poll(t, func() bool {
				p.evaluate(t, lookAtOperator, &now)
				return now.Health == "good" && strings.Contains(now.Demo, "1 viewer") && now.Bars > 0 && now.Shards > 0 && reported.MatchString(now.Viewer)
			}, func() string {
				return fmt.Sprintf("the page does not show the demo's latency, or how its viewer fares; it says:\n%s", now.Text)
			})
			if now.Tree == "" {
				t.Error("the tree is empty")
			}
			p.evaluate(t, `(document.getElementById('tree-filter').focus(), true)`, new(bool))
			p.must(t, "Input.insertText", map[string]any{"text": "budget_us"}, nil)
			p.evaluate(t, lookAtOperator, &now)
			if !strings.Contains(now.Tree, "dataplane/budget_us") || strings.Contains(now.Tree, "media/listen") {
				t.Errorf("after typing budget_us the tree shows: %s", now.Tree)
			}
			if now.Wide > width {
				t.Errorf("in a window of %d pixels the page is %d pixels wide", width, now.Wide)
			}
			for _, e := range p.exceptions() {
				t.Errorf("the page threw: %s", e)
			}
			p.screenshot(t, filepath.Join(t.ArtifactDir(), fmt.Sprintf("operate-%d.png", width)))
		})
	}
}
