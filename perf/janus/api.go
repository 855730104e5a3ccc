package janus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// startTime bounds how long Janus may hang up on us after it began to listen.
const startTime = 5 * time.Second

// object is a JSON object of Janus' API.
type object map[string]any

// message is what Janus sends, as far as it is of use.
type message struct {
	Janus       string
	Transaction string
	Data        struct{ ID uint64 }
	Error       struct{ Reason string }
	Plugindata  struct{ Data roomReply }
	JSEP        *jsep
}

// roomReply is what the video room plugin says.
type roomReply struct {
	ID    uint64 // of the feed of a publisher who joined
	Error string
}

// jsep is a session description on its way.
type jsep struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// err is what went wrong, nil for nothing.
func (m *message) err() error {
	switch {
	case m.Janus == "error":
		return errors.New("janus: " + m.Error.Reason)
	case m.Plugindata.Data.Error != "":
		return errors.New("janus: " + m.Plugindata.Data.Error)
	}
	return nil
}

// api is one session with Janus over its HTTP transport. Requests are posted; what is answered later comes by a long poll, and is told
// apart by its transaction. Its methods are safe for concurrent use.
type api struct {
	url  string // of the session
	http *http.Client
	last atomic.Uint64 // transaction

	mu      sync.Mutex
	waiting map[string]chan *message
}

// connect creates the session, and polls until ctx is done.
func connect(ctx context.Context, at string) (*api, error) {
	a := &api{url: at, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, waiting: map[string]chan *message{}}
	m, err := a.create(ctx)
	if err != nil {
		return nil, err
	}
	a.url += "/" + strconv.FormatUint(m.Data.ID, 10)
	go a.poll(ctx)
	return a, nil
}

// create asks for a session. Janus listens a moment before it serves, and hangs up on who asks in between; so it is asked again.
func (a *api) create(ctx context.Context) (*message, error) {
	for end := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		m, err := a.post(ctx, "", object{"janus": "create"}, a.transaction())
		if broken := (*url.Error)(nil); !errors.As(err, &broken) || ctx.Err() != nil || time.Now().After(end) {
			return m, err
		}
	}
}

func (a *api) transaction() string { return strconv.FormatUint(a.last.Add(1), 10) }

// post sends a request below the session's URL and returns the answer to the POST itself.
func (a *api) post(ctx context.Context, path string, request object, transaction string) (*message, error) {
	request["transaction"] = transaction
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var m message
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		return nil, fmt.Errorf("janus: answer to %v: %w", request["janus"], err)
	}
	return &m, m.err()
}

// attach makes a handle of the video room plugin.
func (a *api) attach(ctx context.Context) (handle, error) {
	m, err := a.post(ctx, "", object{"janus": "attach", "plugin": "janus.plugin.videoroom"}, a.transaction())
	if err != nil {
		return handle{}, err
	}
	return handle{a, "/" + strconv.FormatUint(m.Data.ID, 10)}, nil
}

// poll takes what comes later.
func (a *api) poll(ctx context.Context) {
	for ctx.Err() == nil {
		for _, m := range a.events(ctx) {
			a.mu.Lock()
			if c := a.waiting[m.Transaction]; c != nil {
				delete(a.waiting, m.Transaction)
				c <- &m
			}
			a.mu.Unlock()
		}
	}
}

// events waits for some; there are none when Janus ends, and with it all who wait for one.
func (a *api) events(ctx context.Context) (list []message) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"?maxev=100", nil)
	if err != nil {
		return nil
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	json.NewDecoder(resp.Body).Decode(&list)
	return list
}

// handle is one peer connection of Janus, and its place in the plugin.
type handle struct {
	api  *api
	path string
}

// request has the plugin do something, and waits for its answer if that comes later.
func (h handle) request(ctx context.Context, body object, description *jsep) (*message, error) {
	transaction, later := h.api.transaction(), make(chan *message, 1)
	h.api.mu.Lock()
	h.api.waiting[transaction] = later
	h.api.mu.Unlock()
	defer func() {
		h.api.mu.Lock()
		delete(h.api.waiting, transaction)
		h.api.mu.Unlock()
	}()
	request := object{"janus": "message", "body": body}
	if description != nil {
		request["jsep"] = description
	}
	m, err := h.api.post(ctx, h.path, request, transaction)
	if err != nil || m.Janus != "ack" {
		return m, err
	}
	select {
	case m := <-later:
		return m, m.err()
	case <-ctx.Done():
		return nil, fmt.Errorf("janus: no answer to %v: %w", body["request"], ctx.Err())
	}
}

// detach gives the handle up.
func (h handle) detach(ctx context.Context) error {
	_, err := h.api.post(ctx, h.path, object{"janus": "detach"}, h.api.transaction())
	return err
}
