package janus

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// answerTime bounds what Janus may take for one request.
const answerTime = 20 * time.Second

// Front is the HTTP handler with the endpoints /whip/STREAM and /whep/STREAM. Safe for concurrent use.
type Front struct {
	api *api
	mux *http.ServeMux

	mu      sync.Mutex
	serial  uint64
	streams map[string]*stream
	peers   map[string]peer // by the end of its session's URL
}

// stream is a room with one publisher.
type stream struct {
	room uint64
	feed uint64 // of the publisher, 0 for none yet
}

// peer is a publisher or viewer.
type peer struct {
	handle handle
	stream string // that it publishes, "" for a viewer
}

// New returns the front of a Janus whose API is at a URL. It holds a session there until ctx is done.
func New(ctx context.Context, url string) (*Front, error) {
	a, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	f := &Front{api: a, mux: http.NewServeMux(), streams: map[string]*stream{}, peers: map[string]peer{}}
	f.mux.HandleFunc("POST /whip/{stream}", f.answering(f.publish))
	f.mux.HandleFunc("POST /whep/{stream}", f.answering(f.watch))
	f.mux.HandleFunc("DELETE /session/{id}", f.leave)
	f.mux.HandleFunc("OPTIONS /", func(http.ResponseWriter, *http.Request) {})
	return f, nil
}

// ServeHTTP answers a request.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.mux.ServeHTTP(w, r) }

// errNotLive is answered with 409 and Retry-After.
var errNotLive = errors.New("the stream has no publisher")

// answering makes a handler of what turns an offer into a peer and an answer.
func (f *Front) answering(enter func(ctx context.Context, h handle, stream, offer string) (peer, string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		offer, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h, err := f.api.attach(ctx)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		p, answer, err := enter(ctx, h, r.PathValue("stream"), string(offer))
		if err != nil {
			h.detach(context.WithoutCancel(ctx))
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", "/session/"+f.keep(p))
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, answer)
	}
}

func refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, errNotLive) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	http.Error(w, err.Error(), http.StatusBadGateway)
}

func (f *Front) keep(p peer) (id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serial++
	id = strconv.FormatUint(f.serial, 10)
	f.peers[id] = p
	return id
}

// publish makes a room and joins it with the offer.
func (f *Front) publish(ctx context.Context, h handle, name, offer string) (peer, string, error) {
	f.mu.Lock()
	f.serial++
	s := &stream{room: f.serial}
	f.streams[name] = s
	f.mu.Unlock()
	if _, err := h.request(ctx, object{
		"request": "create", "room": s.room, "publishers": 1, "bitrate": 0, "audiocodec": "opus", "videocodec": "vp8",
	}, nil); err != nil {
		return peer{}, "", err
	}
	m, err := h.request(ctx, object{"request": "joinandconfigure", "ptype": "publisher", "room": s.room}, &jsep{"offer", offer})
	switch {
	case err != nil:
		return peer{}, "", err
	case m.JSEP == nil:
		return peer{}, "", errors.New("janus: no description for the publisher")
	}
	f.mu.Lock()
	s.feed = m.Plugindata.Data.ID
	f.mu.Unlock()
	return peer{h, name}, m.JSEP.SDP, nil
}

// watch has Janus offer the stream, and answers it with what the viewer offered.
func (f *Front) watch(ctx context.Context, h handle, name, offer string) (peer, string, error) {
	f.mu.Lock()
	var s stream
	if f.streams[name] != nil {
		s = *f.streams[name]
	}
	f.mu.Unlock()
	if s.feed == 0 {
		return peer{}, "", errNotLive
	}
	m, err := h.request(ctx, object{
		"request": "join", "ptype": "subscriber", "room": s.room, "streams": []object{{"feed": s.feed}},
	}, nil)
	switch {
	case err != nil:
		return peer{}, "", err
	case m.JSEP == nil:
		return peer{}, "", errors.New("janus: no offer for the viewer")
	}
	toJanus, toViewer, err := reverse(m.JSEP.SDP, offer)
	if err != nil {
		return peer{}, "", err
	}
	_, err = h.request(ctx, object{"request": "start", "room": s.room}, &jsep{"answer", toJanus})
	return peer{handle: h}, toViewer, err
}

func (f *Front) leave(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	p, ok := f.peers[r.PathValue("id")]
	delete(f.peers, r.PathValue("id"))
	var s *stream
	if p.stream != "" {
		s = f.streams[p.stream]
		delete(f.streams, p.stream)
	}
	f.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	if s != nil {
		p.handle.request(r.Context(), object{"request": "destroy", "room": s.room}, nil) // detaching ends it anyway
	}
	if err := p.handle.detach(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}
