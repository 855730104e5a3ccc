package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
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
		Wide: document.documentElement?.scrollWidth ?? 0,
		Text: document.body?.innerText ?? '',
	};
})()`

// TestPage opens the product's own page as wide as a phone and as wide as a
// desk: the front page, which plays the built-in stream by itself, and then a
// viewer who comes before the publisher.
func TestPage(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	d := l.chromium.inspect(t)
	dir := t.ArtifactDir()
	for _, width := range []int{360, 1280} {
		finish := func(t *testing.T, p *tab, name string) {
			p.screenshot(t, filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, width)))
			p.check(t, width)
		}
		t.Run(fmt.Sprintf("front %d", width), func(t *testing.T) {
			front := d.open(t, s.url+"/", width)
			front.awaitPlaying(t)
			finish(t, front, "front")
		})
		t.Run(fmt.Sprintf("watch %d", width), func(t *testing.T) {
			stream := fmt.Sprintf("stage-%d", width)
			viewer := d.open(t, s.url+"/#watch="+stream, width)
			publisher := d.open(t, s.url+"/#publish="+stream+"&source=canvas", width)
			viewer.awaitPlaying(t)
			finish(t, viewer, "watch")
			finish(t, publisher, "publish")
		})
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

// TestPageRestartsICE: where media stops and HTTP does not, as after a change of
// networks, the page restarts ICE, and the session that it had goes on.
func TestPageRestartsICE(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	p := l.chromium.inspect(t).open(t, s.url+"/#watch=demo", 1280)
	p.awaitPlaying(t)
	viewers := func() string { return s.metric(t, l.servers, `sluice_created_sessions_total{role="viewer"}`) }
	made := viewers()
	if made == "" {
		t.Fatal("the server counts no sessions")
	}
	silence := l.servers.lose(t, losses{udp: 100, iceTCP: 100})
	p.poll(t, func() bool { return s.metric(t, l.servers, "sluice_ice_restarts_total") == "1" }, func() string { return "the page does not restart ICE" })
	silence.link.Close()
	p.awaitPlaying(t)
	if now := viewers(); now != made {
		t.Errorf("%s sessions were made, %s before", now, made)
	}
	for _, e := range p.exceptions() {
		t.Errorf("the page threw: %s", e)
	}
}

// focused returns what has the focus: "#ID", or else the tag and the class.
func (p *tab) focused(t *testing.T) string {
	t.Helper()
	var at string
	p.evaluate(t, `(({id, localName, className}) => id ? '#' + id : localName + '.' + className)(document.activeElement)`, &at)
	return at
}

// TestPageKeepsFocus: a control that goes away when it is used hands the focus to
// the one that takes its place.
func TestPageKeepsFocus(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	p := l.chromium.inspect(t).open(t, s.url+"/", 1280)
	p.awaitPlaying(t)
	for _, step := range []struct{ use, before, after string }{
		{"click", "watch-stop", "#watch-title"},
		{"click", "publish-start", "#publish-stop"},
		{"click", "publish-stop", "#publish-start"},
		{"form?.requestSubmit", "publish-name", "#publish-stop"}, // as Enter does
	} {
		p.evaluate(t, `(document.querySelector('[name=source][value=canvas]').click(), true)`, new(bool))
		p.evaluate(t, fmt.Sprintf(`(() => {
			const control = document.getElementById(%q);
			control.focus();
			control.%s();
			return true;
		})()`, step.before, step.use), new(bool))
		if at := p.focused(t); at != step.after {
			t.Errorf("after #%s the focus is at %s, not at %s", step.before, at, step.after)
		}
	}
	for _, e := range p.exceptions() {
		t.Errorf("the page threw: %s", e)
	}
}

// A publisher of a codec that no browser here plays.
const unplayable = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"a=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 H265/90000\r\n"

// TestPageGivesPlacesBack: the page answers no counter-offers, so it ends the
// session that comes with one, and says why it does not play.
func TestPageGivesPlacesBack(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4, "demo/stream=off")
	p := l.chromium.inspect(t).open(t, s.url+"/", 1280)
	p.poll(t, func() bool {
		var loaded bool
		p.evaluate(t, `document.readyState === 'complete'`, &loaded)
		return loaded
	}, func() string { return "the page does not load" })
	var status int
	p.evaluate(t, fmt.Sprintf(`fetch('whip/odd', {method: 'POST', headers: {'Content-Type': 'application/sdp'}, body: %q}).then((r) => r.status)`, unplayable), &status)
	if status != 201 {
		t.Fatalf("publishing: status %d", status)
	}
	p.evaluate(t, `(() => {
		const send = window.fetch;
		window.answers = [];
		window.fetch = async (url, options) => {
			const response = await send(url, options);
			if (options?.method) window.answers.push(options.method + ' ' + response.status);
			return response;
		};
		location.hash = '#watch=odd';
		return true;
	})()`, new(bool))
	var answers string
	p.poll(t, func() bool {
		p.evaluate(t, `window.answers.join(', ')`, &answers)
		return answers == "POST 406, DELETE 200"
	}, func() string { return "the requests and their answers: " + answers })
	p.poll(t, func() bool {
		var now player
		p.evaluate(t, lookAtPlayer, &now)
		return now.State == "failed" && strings.Contains(now.Text, "H265")
	}, func() string { return "the page does not say why it does not play" })
}

// access is what the page shows of the right to publish.
type access struct {
	Publishing string // data-state
	Asks       bool   // for a token
	Text       string // what the page says, for a failing test
}

const lookAtAccess = `(() => ({
	Publishing: String(document.getElementById('publish-state')?.dataset.state),
	Asks: document.getElementById('access')?.hidden === false,
	Text: document.body?.innerText ?? '',
}))()`

// TestPageToken: where publishing and watching need tokens, the page publishes
// nothing until a person has entered the right one, and plays with the token of its
// address.
func TestPageToken(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4, "auth/publish_tokens=open-publish", "auth/watch_tokens=open-watch")
	d := l.chromium.inspect(t)
	publisher := d.open(t, s.url+"/#publish=guarded&source=canvas", 1280)
	var now access
	await := func(what string, ok func() bool) {
		t.Helper()
		publisher.poll(t, func() bool {
			publisher.evaluate(t, lookAtAccess, &now)
			return ok()
		}, func() string {
			return fmt.Sprintf("%s: publishing is %q, asks for a token: %v; the page says:\n%s", what, now.Publishing, now.Asks, now.Text)
		})
	}
	publish := func() {
		publisher.evaluate(t, `(document.getElementById('publish-form').requestSubmit(), true)`, new(bool))
	}
	enter := func(token string) {
		publisher.evaluate(t, fmt.Sprintf(`(document.getElementById('token').focus(), document.getElementById('token').value = %q, document.getElementById('token-form').requestSubmit(), true)`, token), new(bool))
		await("a token was entered", func() bool { return !now.Asks })
		if at := publisher.focused(t); at != "a.card" { // the first control that is left
			t.Errorf("after a token was entered the focus is at %s", at)
		}
	}
	refused := func() bool { return now.Publishing == "failed" && now.Asks }

	await("without a token", refused)
	enter("open-watch")
	publish()
	await("with the token for watching", refused)
	enter("open-publish")
	publish()
	await("with its token", func() bool { return now.Publishing == "live" })
	d.open(t, s.url+"/#watch=guarded&token=open-watch", 1280).awaitPlaying(t)
	for _, e := range publisher.exceptions() {
		t.Errorf("the page threw: %s", e)
	}
}
