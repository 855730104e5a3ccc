package whip

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/controlplane"
	"sluice/controlplane/httpd"
)

// eventsRelation names the extension (draft-ietf-wish-whep core extensions).
const eventsRelation = "urn:ietf:params:whep:ext:core:server-sent-events"

// eventListType is the media type of the list of events that a viewer asks for.
const eventListType = "application/json"

// maxEventList bounds the list of events that a viewer asks for, in bytes.
const maxEventList = 4 << 10

// linkEvents tells a viewer where it can ask for events.
func linkEvents(head http.Header, session string) {
	head.Add("Link", fmt.Sprintf("<%s/sse>; rel=%q; events=%q", session, eventsRelation, strings.Join(controlplane.ViewerEvents, ",")))
}

// eventFeeds is the resource where viewers make event feeds.
func (h *handler) eventFeeds() methods {
	return methods{
		http.MethodOptions: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Accept-Post", eventListType) },
		http.MethodPost:    h.listen,
	}
}

func (h *handler) listen(w http.ResponseWriter, r *http.Request) {
	content, ok := body(w, r, "A list of events", maxEventList)
	if !ok {
		return
	}
	wanted := controlplane.ViewerEvents
	if len(content) > 0 {
		if contentType(r) != eventListType {
			w.Header().Set("Accept-Post", eventListType)
			httpd.Problem(w, http.StatusUnsupportedMediaType, "", "Send the list of events with Content-Type: "+eventListType+", or nothing for all of them.")
			return
		}
		wanted = nil
		if err := json.Unmarshal(content, &wanted); err != nil {
			httpd.Problem(w, http.StatusBadRequest, "", `The list of events is no JSON array of strings such as ["active","inactive"].`)
			return
		}
	}
	for _, name := range wanted {
		if !slices.Contains(controlplane.ViewerEvents, name) {
			httpd.Problem(w, http.StatusBadRequest, "Unknown event",
				fmt.Sprintf("There is no event %.40q; %s are there.", name, strings.Join(controlplane.ViewerEvents, ", ")))
			return
		}
	}
	name, err := h.service.Listen(r.PathValue("session"), wanted)
	switch err {
	case nil:
		w.Header().Set("Location", r.URL.Path+"/"+name)
		w.WriteHeader(http.StatusCreated)
	case controlplane.ErrNoSession:
		h.noSession(w, r)
	default:
		w.Header().Set("Retry-After", "10")
		httpd.Problem(w, http.StatusServiceUnavailable, "Limit reached", sentence(err.Error()))
	}
}

// eventFeed is one event feed: GET follows it.
func (h *handler) eventFeed() methods {
	return methods{
		http.MethodGet: h.follow,
		http.MethodDelete: func(w http.ResponseWriter, r *http.Request) {
			if !h.service.Unlisten(r.PathValue("session"), r.PathValue("feed")) {
				h.noFeed(w, r)
				return
			}
			w.WriteHeader(http.StatusOK)
		},
	}
}

func (h *handler) follow(w http.ResponseWriter, r *http.Request) {
	feed := h.service.Feed(r.PathValue("session"), r.PathValue("feed"))
	if feed == nil {
		h.noFeed(w, r)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	if !feed.Serve(w, r, time.Duration(heartbeat.Get(h.tree))*time.Millisecond) {
		h.noFeed(w, r) // it ended between the two
	}
}

// noFeed answers 404, which also ends the tries of browsers to connect again.
func (h *handler) noFeed(w http.ResponseWriter, r *http.Request) {
	if exists, why := h.service.Lookup(r.PathValue("session")); !exists {
		noSession(w, why)
		return
	}
	httpd.Problem(w, http.StatusNotFound, "No such event feed", "The event feed has ended. POST to "+r.URL.Path[:strings.LastIndexByte(r.URL.Path, '/')]+" for a new one.")
}
