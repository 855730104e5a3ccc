// Package web is the page that Sluice serves at "/": publish, watch and see
// what is live. The files under page/ are served as they are; there is no
// build step and nothing is loaded from another host.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed page
var page embed.FS

// contentTypes lists every kind of file that page/ may hold. It stands here
// because mime.TypeByExtension depends on files of the host.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// policy allows this origin's own files and requests, and no inline script or
// style. 'self' in worker-src is for the timer of the test picture.
const policy = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// asset is one file, ready to be served.
type asset struct {
	body        []byte
	contentType string
	etag        string // strong: a digest of the body
}

// Handler serves the public page: index.html at "/", every other file but the
// operator's by its name, 404 for the rest, 405 for methods other than GET and HEAD. Answers carry a
// strong ETag and "Cache-Control: no-cache", so a browser asks each time and
// gets 304 until the binary changes. Safe for concurrent use.
func Handler() http.Handler {
	assets := load()
	delete(assets, "/"+operate)
	return serve(assets)
}

// operate is the operator's page. It needs the admin listener, so it is served
// there and not on the public one.
const operate = "operate.html"

// OperatorHandler serves the operator's page at "/", and files as Handler does.
func OperatorHandler() http.Handler {
	assets := load()
	assets["/"] = assets["/"+operate]
	delete(assets, "/"+operate)
	return serve(assets)
}

func serve(assets map[string]asset) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the page is read with GET or HEAD", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.contentType)
		h.Set("ETag", a.etag)
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	})
}

// load reads the embedded files, keyed by URL path. It panics on a file of a
// kind that contentTypes does not know: that is a mistake in the build, and
// the package's test meets it first.
func load() map[string]asset {
	assets := map[string]asset{}
	err := fs.WalkDir(page, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := page.ReadFile(name)
		if err != nil {
			return err
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			panic("web: " + name + " has no content type; add its extension to contentTypes")
		}
		sum := sha256.Sum256(body)
		assets[urlPath(name)] = asset{body, contentType, `"` + hex.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	if err != nil {
		panic("web: embedded page: " + err.Error())
	}
	return assets
}

// urlPath maps page/index.html to "/" and page/NAME to "/NAME".
func urlPath(name string) string {
	p := strings.TrimPrefix(name, "page")
	if p == "/index.html" {
		return "/"
	}
	return p
}
