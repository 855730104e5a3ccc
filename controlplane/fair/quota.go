package fair

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"sluice/controlplane/httpd"
	"sluice/controlplane/subnet"
	"sluice/netopt/attr"
)

// Quota bounds how often each source does something: as often at once as in a
// period, and then as the time goes by. Safe for concurrent use.
type Quota struct {
	tree   *attr.Tree
	limit  attr.Attr[int64]
	period time.Duration
	now    func() time.Time

	mu      sync.Mutex
	used    map[netip.Prefix]usage
	swept   time.Time
	refused uint64
}

// usage is how much of its quota a source has used at an instant. It comes back
// as the time goes by.
type usage struct {
	at time.Time
	n  float64
}

// maxSources bounds the sources that are told apart. All beyond are one: who has
// so many networks has them to get around limits.
const maxSources = 1 << 14

// NewPatches returns what bounds PATCH requests. The tree holds Attrs.
func NewPatches(tree *attr.Tree) *Quota {
	return newQuota(tree, patchesAttr, time.Second, patchesRefused)
}

// NewGuesses returns what bounds requests with tokens that are none. The tree
// holds Attrs.
func NewGuesses(tree *attr.Tree) *Quota {
	return newQuota(tree, guessesAttr, time.Minute, guessesRefused)
}

func newQuota(tree *attr.Tree, limit attr.Attr[int64], period time.Duration, refused attr.Counter) *Quota {
	q := &Quota{tree: tree, limit: limit, period: period, now: time.Now, used: map[netip.Prefix]usage{}}
	tree.Collect(func(s *attr.Sample) {
		q.mu.Lock()
		defer q.mu.Unlock()
		refused.Add(s, q.refused)
	})
	return q
}

// Exceeded is why a source may not do something now.
type Exceeded struct {
	Wait  time.Duration
	Limit string // path of the attribute
}

func (e *Exceeded) Error() string {
	return "too many such requests came from your address (attribute " + e.Limit + "); wait, then try again"
}

// Answer refuses the request.
func (e *Exceeded) Answer(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.Wait.Seconds()))))
	httpd.Problem(w, http.StatusTooManyRequests, "", "Too many such requests came from your address (attribute "+e.Limit+"). Wait, then try again.")
}

// Check returns why the source of a request may not do it now, and counts that;
// nil if it may.
func (q *Quota) Check(r *http.Request) *Exceeded {
	if wait := q.wait(subnet.Of(Source(q.tree, r))); wait > 0 {
		return &Exceeded{wait, q.limit.Decl().Path}
	}
	return nil
}

// Use counts that the source of a request did it.
func (q *Quota) Use(r *http.Request) { q.use(subnet.Of(Source(q.tree, r))) }

func (q *Quota) use(source netip.Prefix) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	key := q.keyOf(source, now)
	q.used[key] = usage{now, q.left(key, now) + 1}
}

// wait returns how long the source has to wait; not above 0 if it need not.
func (q *Quota) wait(source netip.Prefix) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	limit := float64(q.limit.Get(q.tree))
	over := q.left(q.keyOf(source, now), now) + 1 - limit
	if over > 0 {
		q.refused++
	}
	return time.Duration(over * float64(q.period) / limit)
}

// left returns how much of a source's use counts still.
func (q *Quota) left(source netip.Prefix, now time.Time) float64 {
	u := q.used[source]
	return max(0, u.n-float64(q.limit.Get(q.tree))*float64(now.Sub(u.at))/float64(q.period))
}

// keyOf returns where the use of a source is kept.
func (q *Quota) keyOf(source netip.Prefix, now time.Time) netip.Prefix {
	if _, known := q.used[source]; known || len(q.used) < maxSources {
		return source
	}
	if now.Sub(q.swept) >= time.Second {
		q.swept = now
		for other := range q.used {
			if q.left(other, now) == 0 {
				delete(q.used, other)
			}
		}
	}
	if len(q.used) < maxSources {
		return source
	}
	return netip.Prefix{}
}
