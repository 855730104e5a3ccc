package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// stageAddr is where the director listens in every namespace that holds a
// browser. A page from the loopback address is a secure context, so cameras
// work; the server has another address, so all its answers must pass CORS.
const stageAddr = "127.0.0.1:8000"

// browser is one running browser with its stage open.
type browser struct {
	name     string
	ns       *netns
	proc     *process
	profile  string
	director *director
	hello    hello
}

func stageURL(name string) string {
	return fmt.Sprintf("http://%s/stage.html?browser=%s", stageAddr, url.QueryEscape(name))
}

func chromiumArgs(profile, page string, more ...string) []string {
	args := []string{
		"chromium",
		"--headless=new",
		"--no-sandbox",
		"--disable-gpu",
		"--disable-quic",
		"--disable-dev-shm-usage",
		"--disable-breakpad",
		"--disable-extensions",
		"--disable-background-networking",
		"--disable-background-timer-throttling",
		"--disable-backgrounding-occluded-windows",
		"--disable-renderer-backgrounding",
		"--disable-component-update",
		"--disable-sync",
		"--no-first-run",
		"--use-fake-device-for-media-stream",
		"--use-fake-ui-for-media-stream",
		"--autoplay-policy=no-user-gesture-required",
		"--remote-debugging-port=0",
		"--user-data-dir=" + profile,
	}
	return append(append(args, more...), page)
}

func firefoxArgs(profile, page string) []string {
	return []string{"firefox-esr", "--headless", "--no-remote", "--profile", profile, page}
}

// firefoxPrefs makes cameras fake and the browser silent: it must talk to
// nobody but the test.
var firefoxPrefs = map[string]string{
	"media.navigator.permission.disabled":        "true",
	"media.navigator.streams.fake":               "true",
	"media.autoplay.default":                     "0",
	"media.autoplay.blocking_policy":             "0",
	"media.peerconnection.ice.tcp":               "true",
	"media.gmp-manager.updateEnabled":            "false",
	"media.gmp-provider.enabled":                 "false",
	"dom.timeout.enable_budget_timer_throttling": "false",
	"app.update.enabled":                         "false",
	"app.normandy.enabled":                       "false",
	"browser.aboutwelcome.enabled":               "false",
	"browser.safebrowsing.malware.enabled":       "false",
	"browser.safebrowsing.phishing.enabled":      "false",
	"browser.shell.checkDefaultBrowser":          "false",
	"browser.startup.homepage_override.mstone":   `"ignore"`,
	"browser.startup.page":                       "0",
	"browser.newtabpage.enabled":                 "false",
	"captivedetect.canonicalURL":                 `""`,
	"datareporting.healthreport.uploadEnabled":   "false",
	"datareporting.policy.dataSubmissionEnabled": "false",
	"extensions.update.enabled":                  "false",
	"network.captive-portal-service.enabled":     "false",
	"network.connectivity-service.enabled":       "false",
	"services.settings.server":                   `"data:,"`,
	"toolkit.telemetry.enabled":                  "false",
	"toolkit.telemetry.reportingpolicy.firstRun": "false",
	"trailhead.firstrun.didSeeAboutWelcome":      "true",
	"browser.sessionstore.resume_from_crash":     "false",
	"toolkit.startup.max_resumed_crashes":        "-1",
	"security.sandbox.content.level":             "0",
}

func writePrefs(profile string) error {
	var b strings.Builder
	for name, value := range firefoxPrefs {
		fmt.Fprintf(&b, "user_pref(%q, %s);\n", name, value)
	}
	return os.WriteFile(filepath.Join(profile, "user.js"), []byte(b.String()), 0o600)
}

// launch starts a browser under a fresh profile below dir and waits until its
// stage has said hello.
func (d *director) launch(ns *netns, dir, name string, chromiumFlags ...string) (*browser, error) {
	profile := filepath.Join(dir, name)
	if err := os.MkdirAll(profile, 0o700); err != nil {
		return nil, err
	}
	args := chromiumArgs(profile, stageURL(name), chromiumFlags...)
	if strings.HasPrefix(name, "firefox") {
		args = firefoxArgs(profile, stageURL(name))
		if err := writePrefs(profile); err != nil {
			return nil, err
		}
	}
	b := &browser{name: name, ns: ns, profile: profile, director: d}
	var err error
	b.proc, err = ns.start(filepath.Join(dir, name+".log"), []string{"HOME=" + profile, "MOZ_CRASHREPORTER_DISABLE=1"}, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (apt-get install chromium firefox-esr)", name, err)
	}
	open := d.await(time.Minute, b.proc.exited, func() bool {
		var ok bool
		b.hello, ok = d.hellos[name]
		return ok
	})
	if !open {
		b.proc.stop(time.Second)
		return nil, fmt.Errorf("%s did not open its stage; it printed:\n%s", name, b.proc.tail())
	}
	return b, nil
}

func (b *browser) sends(mime string) bool    { return slices.Contains(b.hello.Send, mime) }
func (b *browser) receives(mime string) bool { return slices.Contains(b.hello.Receive, mime) }

// peer is one page in a browser that publishes or watches.
type peer struct {
	id string
	b  *browser
}

// peerSpec are the parameters of peer.js.
type peerSpec struct {
	role   string // publish, watch
	url    string
	kinds  string // av (default), a, v
	codec  string
	source string // canvas (default), camera
	again  bool   // GStreamer calls again when its connection fails
}

// open starts a peer page in the browser; it goes when the test ends.
func (b *browser) open(t *testing.T, spec peerSpec) *peer {
	t.Helper()
	p := &peer{id: fmt.Sprintf("%s/%s/%s/%d", t.Name(), b.name, spec.role, time.Now().UnixNano()), b: b}
	query := url.Values{
		"id": {p.id}, "role": {spec.role}, "url": {spec.url}, "codec": {spec.codec},
		"kinds": {or(spec.kinds, "av")}, "source": {or(spec.source, "canvas")},
	}
	b.director.queue(b.name) <- order{Do: "open", ID: p.id, URL: "/peer.html?" + query.Encode()}
	t.Cleanup(func() {
		b.director.queue(b.name) <- order{Do: "drop", ID: p.id}
		if t.Failed() {
			t.Logf("%s last said: %s", p.id, p.last())
		}
	})
	return p
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// hangup makes the page DELETE its session and waits for the server's 200.
func (p *peer) hangup(t *testing.T) {
	t.Helper()
	p.b.director.queue(p.b.name) <- order{Do: "hangup", ID: p.id}
	p.await(t, "to end its session", func(rs []report) string {
		if state := rs[len(rs)-1].State; state != "ended" {
			return "state is " + state
		}
		return ""
	})
}

// patience is how long a condition may take on a busy machine. It decides
// nothing: a test that passes does not wait for it.
const patience = 60 * time.Second

// wait waits until missing, which gets all reports of the peer so far (at
// least one), returns "". It gives up where the page reports an error, the
// browser dies or time is over; the last answer of missing is the reason.
func (p *peer) wait(missing func([]report) string) error { return p.waitFor(patience, missing) }

// waitFor is wait with another patience.
func (p *peer) waitFor(limit time.Duration, missing func([]report) string) error {
	reason, failure := "no report yet", ""
	d := p.b.director
	d.await(limit, p.b.proc.exited, func() bool {
		reports := d.reports[p.id]
		if len(reports) == 0 {
			return false
		}
		failure = reports[len(reports)-1].Error
		reason = missing(reports)
		return failure != "" || reason == ""
	})
	switch {
	case failure != "":
		return fmt.Errorf("%s failed: %s", p.id, failure)
	case !p.b.proc.running():
		return fmt.Errorf("%s exited; it printed:\n%s", p.b.name, p.b.proc.tail())
	case reason != "":
		return fmt.Errorf("%s: gave up after %v: %s", p.id, limit, reason)
	}
	return nil
}

// await is wait for those who cannot go on without.
func (p *peer) await(t *testing.T, what string, missing func([]report) string) {
	t.Helper()
	if err := p.wait(missing); err != nil {
		t.Fatalf("waiting for a page %s: %v", what, err)
	}
}
