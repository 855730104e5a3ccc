package web

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, target string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files returns the embedded files' names below page/.
func files(t *testing.T) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(page, "page", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(name, "page/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEveryFileIsServed(t *testing.T) {
	wantType := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	for _, name := range files(t) {
		if name == operate {
			continue // TestOperatorsPage
		}
		r := get(t, "GET", urlPath("page/"+name), nil)
		if r.StatusCode != 200 {
			t.Errorf("%s: status %d", name, r.StatusCode)
			continue
		}
		stored, err := page.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, r); got != string(stored) {
			t.Errorf("%s: served %d bytes that differ from the file's %d", name, len(got), len(stored))
		}
		if want := wantType[path.Ext(name)]; want == "" || !strings.HasPrefix(r.Header.Get("Content-Type"), want) {
			t.Errorf("%s: Content-Type %q, want %q", name, r.Header.Get("Content-Type"), want)
		}
		if got := r.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", name, got)
		}
		if got := r.Header.Get("Cache-Control"); got != "no-cache" {
			t.Errorf("%s: Cache-Control %q", name, got)
		}
		csp := r.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q must start from 'none' and hold nothing unsafe", name, csp)
		}
	}
}

func TestETagRevalidates(t *testing.T) {
	seen := map[string]string{}
	for _, name := range files(t) {
		if name == operate {
			continue
		}
		p := urlPath("page/" + name)
		tag := get(t, "GET", p, nil).Header.Get("ETag")
		if !regexp.MustCompile(`^"[0-9a-f]{24}"$`).MatchString(tag) {
			t.Errorf("%s: ETag %q is not a strong digest", p, tag)
		}
		if other, twice := seen[tag]; twice {
			t.Errorf("%s and %s share the ETag %s", p, other, tag)
		}
		seen[tag] = p

		r := get(t, "GET", p, http.Header{"If-None-Match": {tag}})
		if r.StatusCode != http.StatusNotModified || body(t, r) != "" {
			t.Errorf("%s: If-None-Match with its own tag gave %d", p, r.StatusCode)
		}
		if r.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: the 304 carries no Content-Security-Policy", p)
		}
		if r := get(t, "GET", p, http.Header{"If-None-Match": {`"old"`}}); r.StatusCode != 200 {
			t.Errorf("%s: If-None-Match with another tag gave %d", p, r.StatusCode)
		}
	}
}

func TestMethodsAndUnknownPaths(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"HEAD", "/", 200},
		{"POST", "/", 405},
		{"DELETE", "/main.js", 405},
		{"GET", "/index.html", 404}, // one name for one thing
		{"GET", "/nothing.js", 404},
		{"GET", "/../web.go", 404},
		{"GET", "/page/main.js", 404},
	} {
		r := get(t, c.method, c.path, nil)
		if r.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, r.StatusCode, c.status)
		}
		if c.status == 405 && r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: Allow %q", c.method, c.path, r.Header.Get("Allow"))
		}
	}
	if r := get(t, "HEAD", "/", nil); body(t, r) != "" {
		t.Error("HEAD / has a body")
	}
}

var (
	reference = regexp.MustCompile(`(?:href|src)="([^"#][^"]*)"`)
	imported  = regexp.MustCompile(`["'](\./[^"']+)["']`)
)

// What the files name must exist, and must be ours: the page has to work where
// no other host can be reached.
func TestReferencesExist(t *testing.T) {
	exists := map[string]bool{}
	for _, name := range files(t) {
		exists[name] = true
	}
	referenced := map[string]bool{"index.html": true, operate: true}
	check := func(from, to string) {
		to = strings.TrimPrefix(to, "./")
		if !exists[to] {
			t.Errorf("%s names %q, which is not in page/", from, to)
		}
		referenced[to] = true
	}
	for _, name := range files(t) {
		b, err := page.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		switch path.Ext(name) {
		case ".html":
			for _, m := range reference.FindAllStringSubmatch(string(b), -1) {
				check(name, m[1])
			}
		case ".js":
			for _, m := range imported.FindAllStringSubmatch(string(b), -1) {
				check(name, m[1])
			}
		}
	}
	for name := range exists {
		if !referenced[name] {
			t.Errorf("%s is in page/ but nothing names it", name)
		}
	}
}

// The policy forbids inline script and style, so the page must hold none:
// a browser would drop them without a word to its reader.
func TestNothingInline(t *testing.T) {
	html := read(t, "index.html") + read(t, operate)
	for what, re := range map[string]*regexp.Regexp{
		"a style attribute":    regexp.MustCompile(`(?i)<[^>]+\sstyle\s*=`),
		"a style element":      regexp.MustCompile(`(?i)<style[\s>]`),
		"an event attribute":   regexp.MustCompile(`(?i)<[^>]+\son[a-z]+\s*=`),
		"a script without src": regexp.MustCompile(`(?i)<script(?:\s+type="[^"]*")?\s*>`),
	} {
		if m := re.FindString(html); m != "" {
			t.Errorf("a page holds %s: %s", what, m)
		}
	}
}

// What each page's scripts look up, those that it imports included, is in it.
func TestScriptsFindTheirElements(t *testing.T) {
	for _, name := range []string{"index.html", operate} {
		html := read(t, name)
		ids := map[string]int{}
		for _, m := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(html, -1) {
			ids[m[1]]++
		}
		for id, n := range ids {
			if n > 1 {
				t.Errorf("%s has the id %q %d times", name, id, n)
			}
		}
		for _, m := range regexp.MustCompile(`\s(?:for|aria-labelledby|aria-describedby|list)="([^"]+)"`).FindAllStringSubmatch(html, -1) {
			if ids[m[1]] == 0 {
				t.Errorf("%s points at the id %q, which it does not have", name, m[1])
			}
		}
		wanted := 0
		for _, script := range scripts(t, html) {
			for _, m := range regexp.MustCompile(`\bbyId\(["']([^"']+)["']\)`).FindAllStringSubmatch(read(t, script), -1) {
				wanted++
				if ids[m[1]] == 0 {
					t.Errorf("%s wants the id %q, which %s does not have", script, m[1], name)
				}
			}
		}
		if wanted == 0 {
			t.Errorf("no script of %s looks up an element: has byId got another name?", name)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := page.ReadFile("page/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// scripts returns the scripts of a page with all that they import.
func scripts(t *testing.T, html string) (all []string) {
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		all = append(all, name)
		for _, m := range imported.FindAllStringSubmatch(read(t, name), -1) {
			add(strings.TrimPrefix(m[1], "./"))
		}
	}
	for _, m := range regexp.MustCompile(`src="([^"]+\.js)"`).FindAllStringSubmatch(html, -1) {
		add(m[1])
	}
	return all
}

// The operator's page is for the admin listener only.
func TestOperatorsPage(t *testing.T) {
	if r := get(t, "GET", "/"+operate, nil); r.StatusCode != 404 {
		t.Errorf("the public listener serves the operator's page: %d", r.StatusCode)
	}
	for path, want := range map[string]int{"/": 200, "/operate.js": 200, "/style.css": 200, "/" + operate: 404} {
		w := httptest.NewRecorder()
		OperatorHandler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
		if path == "/" && w.Body.String() != read(t, operate) {
			t.Error("/ is not the operator's page")
		}
		if want == 200 && !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: no policy", path)
		}
	}
}
