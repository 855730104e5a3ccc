package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"sluice/controlplane/httpd"
	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
)

// A watcher that is this many changes behind is let go: whoever changes the tree
// does not wait for it.
const watchBacklog = 256

// A connection that carries nothing is looked at this often, and a client that
// takes nothing for this long is gone.
const (
	watchBeat    = 15 * time.Second
	watchTimeout = 5 * time.Second
)

// watches counts who follows changes.
type watches struct{ now, refused, lost atomic.Int64 }

func (w *watches) collect(s *attr.Sample) {
	watchesGauge.Set(s, float64(w.now.Load()))
	refusedWatches.Add(s, uint64(w.refused.Load()))
	lostWatches.Add(s, uint64(w.lost.Load()))
}

// watch sends changes at and below path as server-sent events until the client
// goes, the server is shut down, or changes come faster than the client takes
// them. The first bytes say that no change from now on is missed.
func (a *attrs) watch(w http.ResponseWriter, r *http.Request, path string) {
	if _, err := a.tree.List(path); err != nil {
		refuse(w, err)
		return
	}
	defer a.watches.now.Add(-1)
	if a.watches.now.Add(1) > watchesAttr.Get(a.tree) {
		a.watches.refused.Add(1)
		httpd.Problem(w, http.StatusServiceUnavailable, "Too many watches", "As many requests follow changes as attribute admin/watches_max lets.")
		return
	}
	changes := make(chan attrsock.Event, watchBacklog)
	behind := make(chan struct{}, 1)
	tell := func(e attrsock.Event) {
		select {
		case changes <- e:
		default:
			select {
			case behind <- struct{}{}:
			default:
			}
		}
	}
	defer a.tree.Watch(path, func(path, value string) { tell(attrsock.Event{Name: "set", Path: path, Value: value}) })()
	defer a.tree.WatchObjects(func(object string, made bool) {
		if name := map[bool]string{true: "mkdir", false: "rmdir"}[made]; path == "" || object == path || strings.HasPrefix(object, path+"/") {
			tell(attrsock.Event{Name: name, Path: object})
		}
	})()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	beat := time.NewTicker(watchBeat)
	defer beat.Stop()
	for text := ": watching\n\n"; ; {
		if err := sendEvent(w, text); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				a.watches.lost.Add(1)
			}
			return
		}
		select {
		case e := <-changes:
			text = eventText(e)
		case <-beat.C:
			text = ":\n\n"
		case <-behind:
			a.watches.lost.Add(1)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func sendEvent(w http.ResponseWriter, text string) error {
	c := http.NewResponseController(w)
	c.SetWriteDeadline(time.Now().Add(watchTimeout)) // where it cannot be set, net/http's own holds
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	return c.Flush()
}

func eventText(e attrsock.Event) string {
	data, err := json.Marshal(e)
	if err != nil {
		panic("admin: strings always marshal: " + err.Error())
	}
	return fmt.Sprintf("event: %s\ndata: %s\n\n", e.Name, data)
}
