// Package whip is the signalling over HTTP: WHIP for publishers (RFC 9725), WHEP
// for viewers (draft-ietf-wish-whep), and the list of streams.
//
// Files: whip.go (what there is, POST, DELETE), patch.go (trickle ICE and ICE
// restarts, answers to counter-offers), events.go (what viewers are told),
// iceserver.go, refuse.go (why there is no session).
package whip

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"

	"sluice/controlplane"
	"sluice/controlplane/auth"
	"sluice/controlplane/fair"
	"sluice/controlplane/httpd"
	"sluice/netopt/attr"
)

// offerType is the media type of offers and answers.
const offerType = "application/sdp"

// maxOffer bounds an offer, in bytes; browsers' largest are under 16 KiB.
const maxOffer = 64 << 10

// Info is what the page is told beside the streams.
type Info struct {
	Version  string
	Exposed  bool                         // other machines reach the listener
	HTTPSURL func(r *http.Request) string // where the same page is over HTTPS, "" for nowhere
	// OperatorURL is where who sends the request reaches the operator's page, "" for nowhere.
	OperatorURL func(r *http.Request) string
}

type handler struct {
	service *controlplane.Service
	tree    *attr.Tree
	info    Info
	patches *fair.Quota
	guesses *fair.Quota // of tokens
}

// Register adds the handlers to a mux:
//
//	/whip/{stream}            POST an offer; GET, HEAD, OPTIONS
//	/whip/{stream}/{session}  PATCH, DELETE; GET, HEAD, OPTIONS
//	/whep/…                   the same for viewers, and
//	/whep/{stream}/{session}/sse         POST a list of events, for
//	/whep/{stream}/{session}/sse/{feed}  GET text/event-stream; DELETE
//	GET /api/streams          the list of streams
//
// The tree holds Attrs and fair.Attrs.
func Register(mux *http.ServeMux, service *controlplane.Service, tree *attr.Tree, info Info) {
	h := &handler{service, tree, info, fair.NewPatches(tree), fair.NewGuesses(tree)}
	for _, p := range []protocol{{"/whip/", service.Publish, auth.Publish}, {"/whep/", service.Subscribe, auth.Watch}} {
		mux.Handle(p.prefix+"{stream}", cors(h.endpoint(p)))
		mux.Handle(p.prefix+"{stream}/{session}", cors(h.session()))
	}
	mux.Handle("/whep/{stream}/{session}/sse", cors(h.eventFeeds()))
	mux.Handle("/whep/{stream}/{session}/sse/{feed}", cors(h.eventFeed()))
	mux.Handle("/api/streams", cors(methods{http.MethodGet: h.streams}))
}

// protocol is WHIP or WHEP.
type protocol struct {
	prefix    string // of paths
	create    func(stream string, source netip.Addr, offer []byte) (*controlplane.Session, error)
	direction auth.Direction // of what the peer does
}

// methods serves a resource by method, and says which there are. What it has for
// OPTIONS may add to what is said of the resource.
type methods map[string]http.HandlerFunc

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http leaves the content out
	}
	serve := m[method]
	switch {
	case method == http.MethodOptions:
		w.Header().Set("Allow", m.allow())
		if serve != nil {
			serve(w, r)
		}
		w.WriteHeader(http.StatusOK)
		return
	case serve != nil:
		serve(w, r)
		return
	}
	w.Header().Set("Allow", m.allow())
	httpd.Problem(w, http.StatusMethodNotAllowed, "", r.Method+" is not possible here; "+m.allow()+" are.")
}

func (m methods) allow() string {
	allow := "OPTIONS"
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if m[method] != nil {
			allow += ", " + method
		}
		if m[method] != nil && method == http.MethodGet {
			allow += ", HEAD"
		}
	}
	return allow
}

// cors lets pages of any origin use a resource: what protects a session is the
// secret in its URL, never the page that asks, and nothing here goes by cookies.
func cors(h methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Access-Control-Allow-Origin", "*")
		head.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Retry-After, Accept-Post, Accept-Patch, WWW-Authenticate")
		if r.Method == http.MethodOptions {
			head.Set("Access-Control-Allow-Methods", h.allow())
			head.Set("Access-Control-Allow-Headers", "Content-Type, Authorization, If-Match")
			head.Set("Access-Control-Max-Age", "86400")
		}
		h.ServeHTTP(w, r)
	})
}

func (h *handler) endpoint(p protocol) methods {
	return methods{
		http.MethodGet: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Accept-Post", offerType)
			if p.direction == auth.Watch { // by this, players know an endpoint (draft-ietf-wish-whep, "WHEP Endpoint URL Discoverability")
				w.Header().Set("Content-Type", offerType)
				w.Header().Set("Content-Length", "0")
				return
			}
			w.WriteHeader(http.StatusNoContent)
		},
		http.MethodOptions: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Accept-Post", offerType)
			// No servers for a preflight, which browsers send and pages cannot read (RFC 9725 section 4.6).
			if r.Header.Get("Access-Control-Request-Method") != "" {
				return
			}
			if _, err := h.authorize(r, p); err == nil { // credentials are among them
				h.linkServers(w.Header())
			}
		},
		http.MethodPost: func(w http.ResponseWriter, r *http.Request) { h.post(w, r, p) },
	}
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// CheckStream says what is wrong with the name of a stream, which stands in URLs
// and on pages.
func CheckStream(name string) error {
	if !streamName.MatchString(name) || name == "." || name == ".." {
		return errors.New("is not a stream name: 1 to 64 letters, digits, dots, dashes or underscores")
	}
	return nil
}

func (h *handler) post(w http.ResponseWriter, r *http.Request, p protocol) {
	stream := r.PathValue("stream")
	if err := CheckStream(stream); err != nil {
		httpd.Problem(w, http.StatusBadRequest, "Invalid stream name", fmt.Sprintf("The name %.80q %v.", stream, err))
		return
	}
	grant, err := h.authorize(r, p)
	if err != nil {
		refuse(w, err)
		return
	}
	if contentType(r) != offerType {
		w.Header().Set("Accept-Post", offerType)
		httpd.Problem(w, http.StatusUnsupportedMediaType, "", "Send the offer with Content-Type: "+offerType+".")
		return
	}
	offer, ok := body(w, r, "An offer", maxOffer)
	if !ok {
		return
	}
	session, err := p.create(stream, fair.Source(h.tree, r), offer)
	if err == nil {
		err = h.service.Guard(session.Token, grant)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	head, location := w.Header(), p.prefix+stream+"/"+session.Token
	head.Set("Location", location)
	head.Set("ETag", session.ETag)
	h.linkServers(head)
	if p.direction == auth.Watch {
		linkEvents(head, location)
	}
	head.Set("Cache-Control", "no-store")
	head.Set("Content-Type", offerType)
	status := http.StatusCreated
	if !session.AnswerBy.IsZero() {
		status = http.StatusNotAcceptable
		head.Set("Content-Type", offerType+`; valid-until="`+session.AnswerBy.UTC().Format(http.TimeFormat)+`"`)
	}
	w.WriteHeader(status)
	w.Write(session.Answer) // a client that went away has no one to tell
}

// authorize says by what a request may make sessions of an endpoint. The tokens of
// who has guessed too much are not looked at.
func (h *handler) authorize(r *http.Request, p protocol) (auth.Grant, error) {
	tokens := r.Header.Values("Authorization")
	if len(tokens) > 0 {
		if exceeded := h.guesses.Check(r); exceeded != nil {
			return auth.Grant{}, exceeded
		}
	}
	grant, err := h.service.Authorize(tokens, r.PathValue("stream"), p.direction)
	var refusal *auth.Refusal
	if errors.As(err, &refusal) && refusal.Reason == auth.InvalidToken {
		h.guesses.Use(r)
	}
	return grant, err
}

// contentType returns the media type of a request's body, "" for none.
func contentType(r *http.Request) string {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return media
}

// body reads a request's body, which is called what; ok is false when that failed
// and the request is answered.
func body(w http.ResponseWriter, r *http.Request, what string, longest int64) (content []byte, ok bool) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, longest))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return content, true
	case errors.As(err, &tooLarge):
		httpd.Problem(w, http.StatusRequestEntityTooLarge, "", what+" has at most "+strconv.FormatInt(longest, 10)+" bytes.")
	default:
		httpd.Problem(w, http.StatusBadRequest, "", what+" did not arrive whole; send it again.")
	}
	return nil, false
}

func (h *handler) session() methods {
	return methods{
		http.MethodOptions: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Accept-Patch", fragmentType) },
		http.MethodGet: func(w http.ResponseWriter, r *http.Request) {
			if exists, why := h.service.Lookup(r.PathValue("session")); !exists {
				noSession(w, why)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		},
		http.MethodPatch: h.patch,
		http.MethodDelete: func(w http.ResponseWriter, r *http.Request) {
			token := r.PathValue("session")
			if !h.service.Delete(token) {
				_, why := h.service.Lookup(token)
				noSession(w, why)
				return
			}
			w.WriteHeader(http.StatusOK)
		},
	}
}

func (h *handler) streams(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(struct {
		Streams     []controlplane.StreamInfo `json:"streams"`
		Version     string                    `json:"version"`
		HTTPSURL    string                    `json:"https_url"`
		OperatorURL string                    `json:"operator_url"`
		Unprotected bool                      `json:"unprotected"` // whoever reaches the server may publish and watch, and not only this machine does
	}{h.service.Streams(), h.info.Version, h.info.HTTPSURL(r), h.info.OperatorURL(r), h.info.Exposed && h.service.Open()})
}
