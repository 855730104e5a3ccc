package e2e

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"sync"
	"time"
)

//go:embed page
var pages embed.FS

// report is what one peer page says about itself, twice a second. Pointers are
// nil where the browser does not tell.
type report struct {
	ID         string
	At         time.Time `json:"-"` // when it came
	State      string    // connectionState, or "waiting" while WHEP answers 409, or "ended"
	DTLS       string    // state of the DTLS transport
	Error      string    // why the page gave up; empty while all is well
	RetryAfter *string
	Countered  bool   // the viewer's offer was answered by an offer of the server's
	Remote     string // address of the server in the selected candidate pair
	Protocol   string // of that pair, "udp" or "tcp"
	FirstFrame int    // milliseconds from the POST to the first picture, 0 before it or where the browser does not tell
	Video      *videoStats
	Audio      *audioStats
	Sent       *sentStats
	Pixels     pixels
	Shown      shown
}

type videoStats struct {
	Codec           string
	FramesDecoded   int
	FramesPerSecond float64
	FreezeCount     *int
	FreezesDuration *float64
	PacketsLost     int
	NackCount       int
	PLICount        int
	Retransmitted   int // packets that came as retransmissions
	Width, Height   int
}

type audioStats struct {
	Codec            string
	PacketsReceived  int
	PacketsLost      int
	SamplesReceived  *int
	ConcealedSamples *int
	Energy           *float64
}

type sentStats struct {
	FramesEncoded   int
	PacketsSent     int
	Retransmitted   int // packets
	NackCount       int
	PLICount        int
	KeyFrames       int
	TargetBitrate   float64 // bit/s
	FramesPerSecond float64
	Limitation      string
	Width           int
}

// shown is how pictures followed each other: a freeze is half a second without
// a new one.
type shown struct {
	Freezes int // so far
	Frozen  int // milliseconds of these
	Longest int // milliseconds between two pictures since the last report
}

// pixels counts looks at the picture, and the looks that found another picture
// than the one before.
type pixels struct {
	Looks int
	Moved int
}

// hello is what a browser says when its stage is open.
type hello struct {
	UserAgent string
	Send      []string // mime types, such as "video/VP8"
	Receive   []string
}

// order tells a stage to open a peer page, to make it hang up, or to drop it.
type order struct {
	Do  string // "open", "hangup", "drop"
	ID  string
	URL string
}

// director is the test's side of the pages: it serves them, hands out orders
// and keeps all reports. Safe for concurrent use.
type director struct {
	mu      sync.Mutex
	changed chan struct{} // closed at every report and hello, then replaced
	hellos  map[string]hello
	reports map[string][]report
	orders  map[string]chan order
}

func newDirector() *director {
	return &director{
		changed: make(chan struct{}),
		hellos:  map[string]hello{},
		reports: map[string][]report{},
		orders:  map[string]chan order{},
	}
}

// await blocks until ok, called under the lock after every change, is true; it
// returns false when the time is over or quit is closed.
func (d *director) await(limit time.Duration, quit <-chan struct{}, ok func() bool) bool {
	over := time.After(limit)
	for {
		d.mu.Lock()
		done, changed := ok(), d.changed
		d.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-quit:
			return false
		case <-over:
			return false
		}
	}
}

// note changes the director's records and wakes those who wait.
func (d *director) note(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *director) queue(browser string) chan order {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.orders[browser] == nil {
		d.orders[browser] = make(chan order, 64)
	}
	return d.orders[browser]
}

// handler serves the pages and what they call.
func (d *director) handler() http.Handler {
	files, err := fs.Sub(pages, "page")
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("POST /hello/{browser}", func(w http.ResponseWriter, r *http.Request) {
		var h hello
		if decode(w, r, &h) {
			d.note(func() { d.hellos[r.PathValue("browser")] = h })
		}
	})
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
		var rep report
		if decode(w, r, &rep) {
			rep.At = time.Now()
			d.note(func() { d.reports[rep.ID] = append(d.reports[rep.ID], rep) })
		}
	})
	mux.HandleFunc("GET /next/{browser}", func(w http.ResponseWriter, r *http.Request) {
		select {
		case o := <-d.queue(r.PathValue("browser")):
			json.NewEncoder(w).Encode(o)
		case <-time.After(10 * time.Second):
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	})
	return mux
}

func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}
