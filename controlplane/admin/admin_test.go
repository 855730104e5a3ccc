package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/controlplane/fair"
	"sluice/controlplane/httpd"
	"sluice/netopt/attr"
)

var table attr.Table

var (
	_       = table.Int(attr.Decl{Path: "plane/shards", Unit: "shards", Mode: attr.Boot, Max: 64, Since: "0.1", Doc: "Shards."})
	title   = table.Text(attr.Decl{Path: "title", Default: "Sluice", Since: "0.1", Doc: "Title."})
	_       = table.Text(attr.Decl{Path: "token", Mode: attr.WO, Default: "hunter2", Since: "0.1", Doc: "Secret."})
	_       = table.List(attr.Decl{Path: "ice/announce", Default: "::1 ::2", Since: "0.1", Doc: "Addresses."})
	limit   = table.Int(attr.Decl{Path: "limits/lines", Max: 9, Default: "2", Since: "0.1", Doc: "Lines."})
	lines   = table.Class(attr.Decl{Path: "lines/<name>", Since: "0.1", Doc: "Line."}, limit, table.Counter(attr.Decl{Path: "refused_lines", Since: "0.1", Doc: "Refused."}))
	line    = table.Text(attr.Decl{Path: "lines/<name>/title", Max: 8, Since: "0.1", Doc: "Title."})
	packets = table.Counter(attr.Decl{Path: "plane/rx_packets", Unit: "packets", Since: "0.1", Doc: "Received."})
)

func newHandler(health, ready func() []string) (http.Handler, *attr.Tree) {
	tree := attr.NewTree(&table, &fair.Attrs, &Attrs)
	tree.Collect(func(s *attr.Sample) { packets.Add(s, 42) })
	tree.Freeze()
	return NewHandler(Options{Tree: tree, Health: health, Ready: ready}), tree
}

func well() []string { return nil }

// do sends a request as a tool on the same machine would; headers are "Name: value".
func do(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "127.0.0.1:9080", "127.0.0.1:40000"
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGet(t *testing.T) {
	h, _ := newHandler(well, well)
	for _, c := range []struct {
		path   string
		status int
		want   string // the body, or the problem's detail
	}{
		{"/attr/", 200, "admin/lost_watches\nadmin/refused_watches\nadmin/refused_writes\nadmin/token\nadmin/watches\nadmin/watches_max\nhttp/trusted_proxies\nhttp_connections\nhttp_refused_connections\nice/announce\nlimits/http_connections\nlimits/http_source_connections\nlimits/lines\nlimits/patches_per_second\nlimits/token_guesses_per_minute\nplane/rx_packets\nplane/shards\nrefused_lines\nrefused_patches\nrefused_token_guesses\ntitle\ntoken\n"},
		{"/attr/plane/", 200, "plane/rx_packets\nplane/shards\n"},
		{"/attr/plane", 200, "plane/rx_packets\nplane/shards\n"},
		{"/attr/title", 200, "Sluice\n"},
		{"/attr/ice/announce", 200, "::1\n::2\n"},
		{"/attr/plane/rx_packets", 200, "42\n"},
		{"/attr/token", 403, "token: can be written only"},
		{"/attr/plane/shard", 404, "plane/shard: no such attribute; the nearest is plane/shards"},
		{"/attr/%2e%2e%2fetc", 404, "../etc: no such attribute"},
	} {
		w := do(h, "GET", c.path, "")
		got := w.Body.String()
		if c.status != 200 {
			got = detail(t, w)
		}
		if w.Code != c.status || got != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.path, w.Code, got, c.status, c.want)
		}
	}
}

// detail returns the detail of a problem document.
func detail(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var problem struct {
		Status int
		Detail string
	}
	if w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d is no problem document: %q", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != w.Code {
		t.Fatalf("%d: %v: %q", w.Code, err, w.Body)
	}
	return problem.Detail
}

func TestPut(t *testing.T) {
	for _, c := range []struct {
		path, body string
		status     int
		detail     string
	}{
		{"/attr/title", "Studio\n", 204, ""},
		{"/attr/title", strings.Repeat("x", attr.MaxBytes) + "\n", 204, ""},
		{"/attr/token", "new", 204, ""},
		{"/attr/title", "a\x00", 400, "title: byte 1 (0x00) is not printable ASCII"},
		{"/attr/title", strings.Repeat("x", attr.MaxBytes+1), 400, "title: is longer than 4096 bytes"},
		{"/attr/title", strings.Repeat("x", attr.MaxBytes+2), 413, "A value has at most 4096 bytes."},
		{"/attr/plane/shards", "4", 403, "plane/shards: is fixed while running; a value in the configuration directory takes effect at the next start"},
		{"/attr/plane/rx_packets", "0", 403, "plane/rx_packets: can be read only"},
		{"/attr/nope", "0", 404, "nope: no such attribute"},
		{"/attr/", "0", 400, ": is a directory"},
		{"/attr/ice", "0", 400, "ice: is a directory"},
	} {
		h, tree := newHandler(well, well)
		w := do(h, "PUT", c.path, c.body)
		if w.Code != c.status {
			t.Errorf("%s %.20q: %d %s", c.path, c.body, w.Code, w.Body)
			continue
		}
		switch {
		case c.status != 204:
			if got := detail(t, w); got != c.detail {
				t.Errorf("%s %.20q: %q", c.path, c.body, got)
			}
			if title.Get(tree) != "Sluice" {
				t.Errorf("%s %.20q: refused and yet set", c.path, c.body)
			}
		case c.path == "/attr/title":
			if got := title.Get(tree); got != strings.TrimSuffix(c.body, "\n") {
				t.Errorf("%s %.20q: value is %.20q", c.path, c.body, got)
			}
		}
	}
}

// An integer that is open while the process runs, out of range.
func TestPutRange(t *testing.T) {
	tree := attr.NewTree(&table, &fair.Attrs, &Attrs)
	h := NewHandler(Options{Tree: tree, Health: well, Ready: well})
	w := do(h, "PUT", "/attr/plane/shards", "99")
	if got := detail(t, w); w.Code != 400 || got != "plane/shards: 99 is out of range 0..64" || !strings.Contains(w.Body.String(), "ERANGE") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestJSON(t *testing.T) {
	h, _ := newHandler(well, well)
	const accept = "Accept: text/html, application/json;q=0.9"
	var all []map[string]any
	w := do(h, "GET", "/attr/", "", accept)
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || len(all) != len(table.Decls())+len(fair.Attrs.Decls())+len(Attrs.Decls())-2 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if strings.Contains(w.Body.String(), `"value": "hunter2"`) {
		t.Error("the value of a write-only attribute is shown")
	}
	var one map[string]any
	if err := json.Unmarshal(do(h, "GET", "/attr/plane/shards", "", accept).Body.Bytes(), &one); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"path": "plane/shards", "value": "0", "kind": "integer", "unit": "shards", "mode": "0644", "boot": true,
		"min": 0.0, "max": 64.0, "default": "0", "stability": "testing", "since": "0.1", "doc": "Shards.",
	} {
		if one[field] != want {
			t.Errorf("%s is %v, want %v", field, one[field], want)
		}
	}
	if w := do(h, "GET", "/attr/nope", "", accept); w.Code != 404 || detail(t, w) != "nope: no such attribute" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do(h, "GET", "/attr/title", "", "Accept: */*"); w.Body.String() != "Sluice\n" {
		t.Errorf("*/* got %s", w.Body)
	}
}

func TestEntityTags(t *testing.T) {
	h, tree := newHandler(well, well)
	tag := do(h, "GET", "/attr/title", "").Header().Get("ETag")
	if !strings.HasPrefix(tag, `"`) {
		t.Fatalf("ETag %q is not strong", tag)
	}
	for _, have := range []string{tag, `"x", ` + tag, "W/" + tag, "*"} {
		if w := do(h, "GET", "/attr/title", "", "If-None-Match: "+have); w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %d", have, w.Code)
		}
	}
	if w := do(h, "PUT", "/attr/title", "one", "If-Match: "+tag); w.Code != 204 {
		t.Errorf("If-Match of the value: %d %s", w.Code, w.Body)
	}
	if w := do(h, "PUT", "/attr/title", "two", "If-Match: "+tag); w.Code != 412 || title.Get(tree) != "one" {
		t.Errorf("If-Match of an old value: %d, %q", w.Code, title.Get(tree))
	}
	if w := do(h, "GET", "/attr/title", "", "If-None-Match: "+tag); w.Code != 200 || w.Header().Get("ETag") == tag {
		t.Errorf("changed value: %d", w.Code)
	}
	if w := do(h, "PUT", "/attr/title", "two", "If-Match: *"); w.Code != 204 || title.Get(tree) != "two" {
		t.Errorf("If-Match *: %d, %q", w.Code, title.Get(tree))
	}
}

func TestHealth(t *testing.T) {
	ill := func() []string { return []string{"shard 1 has not turned for 2 s", "draining"} }
	h, _ := newHandler(well, ill)
	if w := do(h, "GET", "/healthz", ""); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := do(h, "GET", "/readyz", ""); w.Code != 503 || w.Body.String() != "shard 1 has not turned for 2 s\ndraining\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestMetricsAndProfiles(t *testing.T) {
	h, _ := newHandler(well, well)
	if w := do(h, "GET", "/metrics", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "\nsluice_plane_rx_packets_total 42\n") {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		if w := do(h, "GET", path, ""); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := do(h, "PUT", "/metrics", "x"); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("PUT: %d %v", w.Code, w.Header())
	}
}

func TestObjects(t *testing.T) {
	h, tree := newHandler(well, well)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string // Location, or the problem's detail
	}{
		{"POST", "/attr/lines/a", "", 201, "/attr/lines/a"},
		{"POST", "/attr/lines/a", "", 409, "lines/a: is there already"},
		{"PUT", "/attr/lines/a/title", "x", 204, ""},
		{"POST", "/attr/lines/b/", "", 201, "/attr/lines/b"},
		{"POST", "/attr/lines/c", "", 507, "lines/c: there are 2 objects, and limits/lines is 2"},
		{"POST", "/attr/lines/a/b", "", 403, "lines/a/b: objects are made in lines only"},
		{"POST", "/attr/lines/%2e%2e", "", 400, `lines/..: ".." is not a name: 1 to 64 letters, digits, dots, dashes or underscores, the first no dot`},
		{"DELETE", "/attr/lines/b", "", 204, ""},
		{"DELETE", "/attr/lines/b", "", 404, "lines/b: no such attribute; the nearest is lines/a"},
		{"DELETE", "/attr/title", "", 403, "title: is no object, but a part of the tree"},
		{"PATCH", "/attr/", `{"rmdir":["lines/a"],"mkdir":["lines/z"],"set":{"lines/z/title":"new"}}`, 204, ""},
		{"PATCH", "/attr/?check", `{"mkdir":["lines/y"]}`, 204, ""},
		{"PATCH", "/attr/?check", `{"mkdir":["lines/z"]}`, 409, "lines/z: is there already"},
		{"PATCH", "/attr/", `{"mkdir":["lines/x"],"set":{"nope":"1","lines/x/title":"far too long"}}`, 400,
			"lines/x/title: 12 bytes are out of range 0..8\nnope: no such attribute"},
	} {
		w := do(h, c.method, c.path, c.body)
		got := w.Header().Get("Location")
		if c.status >= 400 {
			got = detail(t, w)
		}
		if w.Code != c.status || got != c.want {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, w.Code, got, c.status, c.want)
		}
	}
	if names := lines.Objects(tree); !slices.Equal(names, []string{"z"}) || line.Of(tree, "z") != "new" {
		t.Errorf("%v, %q", names, line.Of(tree, "z"))
	}
	for _, body := range []string{"", "[]", `{"set":{"title":1}}`, `{"made":[]}`, `{"set":`} {
		if w := do(h, "PATCH", "/attr/", body); w.Code != 400 || !strings.Contains(detail(t, w), "Send JSON such as") {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	for _, bomb := range []string{"[", `{"set":`, `{"a":`} { // depth is memory and stack
		if w := do(h, "PATCH", "/attr/", strings.Repeat(bomb, maxChange/len(bomb))); w.Code != 400 {
			t.Errorf("a deep change of %s: %d", bomb, w.Code)
		}
	}
	if w := do(h, "PATCH", "/attr/", strings.Repeat(" ", maxChange+1)); w.Code != 413 {
		t.Errorf("a large change: %d", w.Code)
	}
}

// Another machine reads without a token, and writes only with it.
func TestToken(t *testing.T) {
	for _, c := range []struct {
		name, token, from, authorization string
		status                           int
	}{
		{"loopback", "", "127.0.0.9:1", "", 204},
		{"loopback, IPv6", "s3cret", "[::1]:1", "", 204},
		{"loopback, mapped", "s3cret", "[::ffff:127.0.0.1]:1", "", 204},
		{"other, none is set", "", "192.0.2.1:1", "", 401},
		{"other, none is set, an empty one", "", "192.0.2.1:1", "Bearer ", 401},
		{"other, none given", "s3cret", "192.0.2.1:1", "", 401},
		{"other, wrong", "s3cret", "192.0.2.1:1", "Bearer s3cre", 401},
		{"other, wrong scheme", "s3cret", "192.0.2.1:1", "Basic s3cret", 401},
		{"other, right", "s3cret", "192.0.2.1:1", "bearer s3cret", 204},
		{"no address", "s3cret", "", "", 401},
	} {
		h, tree := newHandler(well, well)
		if err := tree.Set("admin/token", c.token); err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{"PUT", "GET"} {
			r := httptest.NewRequest(method, "/attr/title", strings.NewReader("x"))
			r.Host, r.RemoteAddr = "192.0.2.9:9080", c.from
			if c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if want := map[string]int{"PUT": c.status, "GET": 200}[method]; w.Code != want {
				t.Errorf("%s: %s: %d %s", c.name, method, w.Code, w.Body)
			}
		}
		refused, err := tree.Get("admin/refused_writes")
		if want := map[int]string{204: "0", 401: "1"}[c.status]; err != nil || refused != want || (title.Get(tree) == "x") != (c.status == 204) {
			t.Errorf("%s: %s refused (%v), title %q", c.name, refused, err, title.Get(tree))
		}
	}
}

// Behind a proxy on this machine every client comes from loopback.
func TestTokenBehindProxyOnThisMachine(t *testing.T) {
	h, tree := newHandler(well, well)
	if err := tree.Set("admin/token", "s3cret"); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"Forwarded: for=192.0.2.7", "Via: 1.1 proxy", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Host: sluice.example", "X-Forwarded-Proto: https", "X-Real-IP: 192.0.2.7"} {
		if w := do(h, "PUT", "/attr/title", "x", field); w.Code != 401 || title.Get(tree) != "Sluice" {
			t.Errorf("%s: %d %s", field, w.Code, w.Body)
		}
		if w := do(h, "GET", "/attr/title", "", field); w.Code != 200 {
			t.Errorf("%s: reading: %d %s", field, w.Code, w.Body)
		}
	}
	if w := do(h, "PUT", "/attr/title", "x", "X-Forwarded-For: 192.0.2.7", "Authorization: Bearer s3cret"); w.Code != 204 {
		t.Errorf("with the token: %d %s", w.Code, w.Body)
	}
}

// Who guesses at the token is not listened to after a while, even with the right
// one; others are, and so is this machine.
func TestGuessing(t *testing.T) {
	h, tree := newHandler(well, well)
	for path, value := range map[string]string{"admin/token": "s3cret", "limits/token_guesses_per_minute": "3"} {
		if err := tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	put := func(from, token string, status int) {
		t.Helper()
		r := httptest.NewRequest("PUT", "/attr/title", strings.NewReader("x"))
		r.Host, r.RemoteAddr = "192.0.2.9:9080", from
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status || (w.Header().Get("Retry-After") != "") != (status == 429) {
			t.Errorf("%s with %q: %d, Retry-After %s", from, token, w.Code, w.Header().Get("Retry-After"))
		}
	}
	for range 3 {
		put("192.0.2.1:1", "guess", 401)
	}
	put("192.0.2.1:2", "s3cret", 429)
	put("192.0.2.1:2", "", 401)
	put("192.0.2.2:1", "s3cret", 204)
	put("127.0.0.1:1", "", 204)
	if n, err := tree.Get("refused_token_guesses"); n != "1" || err != nil {
		t.Errorf("%s refusals are counted, %v", n, err)
	}
}

// What a web page can make a browser on this machine or network send.
func TestWebPagesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		method  string
		headers []string
		status  int
	}{
		{"tool", "PUT", nil, 204},
		{"tool, IPv6", "PUT", []string{"Host: [::1]:9080"}, 204},
		{"tool, IPv6 without port", "PUT", []string{"Host: [::1]"}, 204},
		{"tool, other port", "PUT", []string{"Host: 192.0.2.1:80"}, 204},
		{"tool, localhost", "PUT", []string{"Host: LocalHost:9080"}, 204},
		{"own page", "PUT", []string{"Origin: http://127.0.0.1:9080", "Sec-Fetch-Site: same-origin"}, 204},
		{"own page, older browser", "PUT", []string{"Origin: http://127.0.0.1:9080"}, 204},
		{"rebound name", "PUT", []string{"Host: evil.example:9080"}, 403},
		{"rebound name, read", "GET", []string{"Host: evil.example:9080"}, 403},
		{"rebound name, its own origin", "PUT", []string{"Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: same-origin"}, 403},
		{"name with an address in it", "GET", []string{"Host: 127.0.0.1.evil.example"}, 403},
		{"name below localhost", "GET", []string{"Host: localhost.evil.example"}, 403},
		{"address and user", "GET", []string{"Host: 127.0.0.1@evil.example"}, 403},
		{"no host", "GET", []string{"Host: "}, 403},
		{"foreign page", "PUT", []string{"Origin: http://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"foreign page, older browser", "PUT", []string{"Origin: http://evil.example"}, 403},
		{"page of another port", "PUT", []string{"Origin: http://127.0.0.1:8080", "Sec-Fetch-Site: same-site"}, 403},
		{"sandboxed page", "PUT", []string{"Origin: null"}, 403},
		{"foreign page applies", "PATCH", []string{"Origin: http://evil.example", "Sec-Fetch-Site: cross-site"}, 403},
		{"foreign page makes, as a form can", "POST", []string{"Origin: http://evil.example", "Content-Type: text/plain"}, 403},
		{"foreign page removes", "DELETE", []string{"Origin: http://evil.example"}, 403},
		{"rebound name, a form", "POST", []string{"Host: evil.example", "Origin: http://evil.example"}, 403},
	} {
		h, tree := newHandler(well, well)
		w := do(h, c.method, "/attr/title", "x", c.headers...)
		if w.Code != c.status {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if c.status == 403 && (detail(t, w) == "" || title.Get(tree) != "Sluice") {
			t.Errorf("%s: refused, but the title is %q", c.name, title.Get(tree))
		}
	}
}

// Over the unix socket the Host is whatever the client makes up.
func TestUnixSocketTakesAnyHost(t *testing.T) {
	h, _ := newHandler(well, well)
	socket := filepath.Join(t.TempDir(), "admin.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httpd.NewServer(h, slog.New(slog.DiscardHandler))
	defer srv.Close()
	go srv.Serve(ln)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://sluice/attr/title")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "Sluice\n" {
		t.Errorf("%v: %q", err, body)
	}
}

func TestOperatorsViews(t *testing.T) {
	h := NewHandler(Options{
		Tree: attr.NewTree(&table, &fair.Attrs, &Attrs), Health: well, Ready: well,
		Sessions: func() []string { return []string{"0.1", "1.2"} },
		Session:  func(id string) (any, bool) { return map[string]string{"id": id}, id == "0.1" },
		Picture:  func() any { return []int{1, 2} },
		Page:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "page "+r.URL.Path) }),
	})
	for path, want := range map[string]string{
		"/attr/sessions/":    "0.1\n1.2\n",
		"/attr/sessions/0.1": "{\n  \"id\": \"0.1\"\n}\n",
		"/picture":           "[\n  1,\n  2\n]\n",
		"/":                  "page /",
		"/operate.js":        "page /operate.js",
		"/attr/title":        "Sluice\n",
	} {
		if w := do(h, "GET", path, ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	if w := do(h, "GET", "/attr/sessions/0.2", ""); w.Code != 404 || !strings.HasPrefix(detail(t, w), "No session") {
		t.Errorf("a session that does not exist: %d %s", w.Code, w.Body)
	}
	if w := do(h, "GET", "/", "", "Host: evil.example"); w.Code != 403 {
		t.Errorf("a foreign name: %d", w.Code)
	}
}
