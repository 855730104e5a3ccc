// Package admin is the operator's HTTP: the attribute tree, metrics, health and
// profiles. What protects it is where it listens (loopback and a unix socket),
// that no web page can reach it through a browser, and a token for writes from
// other machines.
package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync/atomic"

	"sluice/controlplane/fair"
	"sluice/controlplane/httpd"
	"sluice/netopt/attr"
	"sluice/netopt/metrics"
)

// Options say what the handler shows.
type Options struct {
	Tree *attr.Tree // holds Attrs and fair.Attrs
	// Health and Ready return what is wrong, one reason an entry, none if all is
	// well: Health whether the process works at all, Ready whether it takes new
	// sessions. They are called from any goroutine.
	Health, Ready func() []string
	// Sessions returns the ids of all sessions, Session what there is to say of
	// one, Picture what the operator's page shows; both as what JSON is made of.
	// From any goroutine.
	Sessions func() []string
	Session  func(id string) (any, bool)
	Picture  func() any
	Page     http.Handler // the operator's page and its files, at /; nil leaves out this and what it shows
}

// NewHandler returns the handler of the admin listener:
//
//	GET    /attr/       paths, one a line; as JSON with values and docs if accepted
//	GET    /attr/PATH   a value and a newline; JSON if accepted; of a directory, its paths;
//	                    if text/event-stream is accepted, changes as they happen
//	PUT    /attr/PATH   the body is the value; 204
//	POST   /attr/PATH   makes an object; 201
//	DELETE /attr/PATH   removes an object; 204
//	PATCH  /attr/       makes an attr.Change as a whole; 204; with ?check only says what is wrong with it
//	GET    /attr/sessions/    ids of all sessions, one a line
//	GET    /attr/sessions/ID  everything about one, as JSON
//	GET    /picture     shards, streams' latency and drops, as JSON
//	GET    /            the operator's page
//	GET    /metrics     Prometheus text or OpenMetrics
//	GET    /healthz     200, or 503 with a reason a line
//	GET    /readyz      the same
//	GET    /debug/pprof/
func NewHandler(o Options) http.Handler {
	mux := http.NewServeMux()
	tree := &attrs{tree: o.Tree}
	o.Tree.Collect(tree.watches.collect)
	mux.HandleFunc("GET /attr/{path...}", tree.get)
	for pattern, write := range map[string]http.HandlerFunc{
		"PUT /attr/{path...}": tree.put, "POST /attr/{path...}": tree.mkdir, "DELETE /attr/{path...}": tree.rmdir, "PATCH /attr/{$}": tree.patch,
	} {
		mux.HandleFunc(pattern, write)
	}
	if o.Page != nil {
		mux.HandleFunc("GET /attr/sessions/{$}", o.sessions)
		mux.HandleFunc("GET /attr/sessions/{id}", o.session)
		mux.HandleFunc("GET /picture", func(w http.ResponseWriter, r *http.Request) { sendJSON(w, r, o.Picture()) })
		mux.Handle("GET /", o.Page)
	}
	mux.Handle("GET /metrics", metrics.Handler(o.Tree))
	mux.HandleFunc("GET /healthz", report(o.Health))
	mux.HandleFunc("GET /readyz", report(o.Ready))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return guard(authorize(o.Tree, mux))
}

// authorize lets writes from other machines pass only with the token.
func authorize(tree *attr.Tree, next http.Handler) http.Handler {
	var refused atomic.Int64
	guesses := fair.NewGuesses(tree)
	tree.Collect(func(s *attr.Sample) { refusedWrites.Add(s, uint64(refused.Load())) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
		if reads || overUnix(r) || fair.Local(r) {
			next.ServeHTTP(w, r)
			return
		}
		guess := r.Header.Get("Authorization") != ""
		if guess {
			if exceeded := guesses.Check(r); exceeded != nil {
				exceeded.Answer(w)
				return
			}
		}
		if !bearsToken(r, tokenAttr.Get(tree)) {
			refused.Add(1)
			if guess {
				guesses.Use(r)
			}
			w.Header().Set("WWW-Authenticate", "Bearer")
			httpd.Problem(w, http.StatusUnauthorized, "No token",
				"Writes from another machine, or through a proxy, need attribute admin/token to be set, and its value in the request: Authorization: Bearer TOKEN.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearsToken compares in a time that says nothing of the token (RFC 6750 section 2.1).
func bearsToken(r *http.Request, token string) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
	return token != "" && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// report answers 200, or 503 with what is wrong.
func report(wrong func() []string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		body := "ok\n"
		if reasons := wrong(); len(reasons) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			body = strings.Join(reasons, "\n") + "\n"
		}
		w.Write([]byte(body))
	}
}

// guard refuses what a foreign web page makes its visitor's browser send: writes
// from another origin, and any request under a name that the page's owner could
// have pointed here (DNS rebinding). Nobody can point an address or "localhost"
// elsewhere. A unix socket is out of a browser's reach.
func guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		httpd.Problem(w, http.StatusForbidden, "Foreign origin",
			"A page of another origin may not write here. Send the request without a browser, or from a page of this listener.")
	}))
	next = origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !overUnix(r) && !isLocal(r.Host) {
			httpd.Problem(w, http.StatusForbidden, "Foreign host",
				"The admin listener is addressed by IP address or as localhost only, so that no web page can reach it under a name of its own.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func overUnix(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}

// isLocal reports whether a Host header is an address or localhost, with or
// without a port.
func isLocal(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	_, err := netip.ParseAddr(name)
	return err == nil || strings.EqualFold(name, "localhost")
}
