package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// devtools is a connection to a Chromium, as small as the tests allow.
// https://chromedevtools.github.io/devtools-protocol/
// Safe for concurrent use.
type devtools struct {
	conn *websocket.Conn

	mu      sync.Mutex
	lastID  int
	pending map[int]chan cdpMessage
	thrown  map[string][]string // uncaught exceptions, by session
}

type cdpMessage struct {
	ID        int                       `json:"id,omitempty"`
	SessionID string                    `json:"sessionId,omitempty"`
	Method    string                    `json:"method,omitempty"`
	Params    any                       `json:"params,omitempty"`
	Result    json.RawMessage           `json:"result,omitempty"`
	Error     *struct{ Message string } `json:"error,omitempty"`
}

// inspect connects to the browser, which wrote its address into its profile.
func (b *browser) inspect(t *testing.T) *devtools {
	t.Helper()
	active, err := os.ReadFile(filepath.Join(b.profile, "DevToolsActivePort"))
	if err != nil {
		t.Fatal(err)
	}
	port, path, _ := strings.Cut(strings.TrimSpace(string(active)), "\n")
	dialer := websocket.Dialer{NetDialContext: b.ns.dial}
	conn, _, err := dialer.DialContext(t.Context(), "ws://127.0.0.1:"+port+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &devtools{conn: conn, pending: map[int]chan cdpMessage{}, thrown: map[string][]string{}}
	t.Cleanup(func() { conn.Close() })
	go d.read()
	return d
}

// read hands answers to their callers and keeps exceptions, until the
// connection closes.
func (d *devtools) read() {
	for {
		var m cdpMessage
		if d.conn.ReadJSON(&m) != nil {
			return
		}
		d.mu.Lock()
		switch {
		case m.Method == "Runtime.exceptionThrown":
			text, _ := json.Marshal(m.Params)
			d.thrown[m.SessionID] = append(d.thrown[m.SessionID], string(text))
		case m.ID != 0:
			d.pending[m.ID] <- m
			delete(d.pending, m.ID)
		}
		d.mu.Unlock()
	}
}

// call sends one command and stores its result into result, if not nil.
func (d *devtools) call(ctx context.Context, session, method string, params, result any) error {
	answer := make(chan cdpMessage, 1)
	d.mu.Lock()
	d.lastID++
	d.pending[d.lastID] = answer
	err := d.conn.WriteJSON(cdpMessage{ID: d.lastID, SessionID: session, Method: method, Params: params})
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

// tab is one window of the browser under inspection.
type tab struct {
	d       *devtools
	session string
}

type args map[string]any

// open shows url in a window of its own, width CSS pixels wide, until the test
// ends. A tab would hide the ones before it, and hidden pages are throttled.
func (d *devtools) open(t *testing.T, url string, width int) *tab {
	t.Helper()
	p := &tab{d: d}
	var target struct{ TargetID string }
	p.must(t, "Target.createTarget", args{"url": "about:blank", "newWindow": true}, &target)
	var attached struct{ SessionID string }
	p.must(t, "Target.attachToTarget", args{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	t.Cleanup(func() {
		d.call(context.Background(), "", "Target.closeTarget", args{"targetId": target.TargetID}, nil)
	})
	p.must(t, "Runtime.enable", nil, nil)
	p.must(t, "Emulation.setDeviceMetricsOverride", args{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	p.must(t, "Page.navigate", args{"url": url}, nil)
	return p
}

func (p *tab) must(t *testing.T, method string, params args, result any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.d.call(ctx, p.session, method, params, result); err != nil {
		t.Fatal(err)
	}
}

// evaluate runs an expression in the page and stores its value.
func (p *tab) evaluate(t *testing.T, expression string, value any) {
	t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.must(t, "Runtime.evaluate", args{"expression": expression, "returnByValue": true, "awaitPromise": true}, &out)
	if out.ExceptionDetails != nil {
		t.Fatalf("%s: %s", expression, out.ExceptionDetails)
	}
	if err := json.Unmarshal(out.Result.Value, value); err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
}

// screenshot saves what the window shows.
func (p *tab) screenshot(t *testing.T, file string) {
	t.Helper()
	var shot struct{ Data string }
	p.must(t, "Page.captureScreenshot", args{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// exceptions returns what the page threw and nobody caught.
func (p *tab) exceptions() []string {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return p.d.thrown[p.session]
}
