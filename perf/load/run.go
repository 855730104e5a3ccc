package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/perf/lab"
	"sluice/perf/proc"
)

// Plan is one run of the generator against a server that has no sessions yet.
type Plan struct {
	Target
	Media
	Viewers int  // how many join
	Full    int  // how many of them decrypt everything, spread over the order of joining; Viewers or more: all
	Serial  int  // the first ones join one by one while media flows, for the time to first media
	Storm   bool // all others join at once while media flows; otherwise a few at a time while it does not
	Ask     bool // see how fast the server answers HTTP meanwhile

	After   func(context.Context) error // called when all is measured, while media still flows; may be nil
	Warm    time.Duration               // media flows to all viewers for this long before anything is measured
	Window  time.Duration               // length of the measurement
	RSSWait time.Duration               // time from the last join to the reading of the server's memory
}

// Settling is how long a server gets to be done with a new publisher.
const Settling = time.Second

// Settle is how long it gets where memory is read so long after the last viewer joined: until what it keeps of a stream has filled,
// or viewers would be charged for that.
func Settle(rssWait time.Duration) time.Duration { return max(Settling, rssWait/4) }

const (
	parallelJoins = 4
	stormJoins    = 64
	joinTimeout   = 20 * time.Second
	mediaTimeout  = 20 * time.Second
	connectTail   = 300 * time.Millisecond // for it to be done with the last of many viewers; what it idles then is charged to them
)

// Run carries out a plan.
func Run(ctx context.Context, p Plan) (r Report, err error) {
	r = Report{Plan: p.describe()}
	before, err := rss(p.PID)
	if err != nil {
		return r, err
	}
	b, err := Open(ctx, p.Target, p.Media)
	if err != nil {
		return r, fmt.Errorf("publish: %w", err)
	}
	s := &session{plan: p, bench: b, report: &r}
	defer s.close(ctx)
	r.RSS.Idle = before
	join := s.joinParallel
	if p.Storm {
		join = s.joinStorm
	}
	for _, step := range []func(context.Context) error{s.settlePublisher, s.joinSerial, join, s.awaitMedia, s.rssJoined, s.measure} {
		if err := step(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// session is a run in progress.
type session struct {
	plan    Plan
	bench   *Bench
	report  *Report
	viewers []*Viewer
	joined  time.Time // when the last viewer had its keys
}

func (s *session) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	each(parallelJoins, s.viewers, func(v *Viewer) error { return s.bench.Leave(ctx, v) })
	s.bench.Close(ctx)
}

func (s *session) settlePublisher(ctx context.Context) (err error) {
	if err := sleep(ctx, Settle(s.plan.RSSWait)); err != nil {
		return err
	}
	s.report.Profile = s.bench.pubs[0].conn.Profile.String()
	s.report.RSS.Publisher, err = rss(s.plan.PID)
	return err
}

// joinSerial lets the first viewers in one by one, each after the one before it has its first keyframe. That event is tied to the
// publisher's clock, so each one then waits for another part of a frame's time: together they meet all phases evenly.
func (s *session) joinSerial(ctx context.Context) error {
	n := min(s.plan.Serial, s.plan.Viewers)
	for i := range n {
		if err := sleep(ctx, s.plan.period()*time.Duration(i)/time.Duration(n)); err != nil {
			return err
		}
		v, err := s.join(ctx, i)
		if err != nil {
			return err
		}
		s.viewers = append(s.viewers, v)
		if err := s.await(ctx, v); err != nil {
			return err
		}
	}
	s.noteFirst()
	return nil
}

// noteFirst reports when the viewers that are there had their first media.
func (s *session) noteFirst() {
	var firstVideo, firstKey []time.Duration
	s.bench.hub.locked(func() {
		for _, v := range s.viewers {
			firstVideo = append(firstVideo, time.Duration(v.firstVideo-v.posted))
			firstKey = append(firstKey, time.Duration(v.firstKey-v.posted))
		}
	})
	s.report.FirstVideo, s.report.FirstKeyframe = spread(firstVideo), spread(firstKey)
}

// joinStorm lets all viewers in at once while media flows. Those who find no way in are counted. CPU per connect has the media's in it.
func (s *session) joinStorm(ctx context.Context) error {
	before, err := readUsage(s.plan.PID)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := s.joinRest(ctx, stormJoins); err != nil && len(s.viewers) == 0 {
		return err
	}
	s.report.Refused = s.plan.Viewers - len(s.viewers)
	for _, v := range s.viewers {
		if err := s.await(ctx, v); err != nil {
			return err
		}
	}
	s.report.StormS = time.Since(start).Seconds()
	s.noteFirst()
	after, err := readUsage(s.plan.PID)
	s.report.ConnectCPU = ms(after.server.Sub(before.server).Total) / float64(len(s.viewers))
	return err
}

// joinParallel lets the others in while the publisher holds still, so that all CPU time of the server is the price of connecting.
func (s *session) joinParallel(ctx context.Context) error {
	done := len(s.viewers)
	if done == s.plan.Viewers {
		s.joined = time.Now()
		return nil
	}
	before, err := s.bench.hold(nil)
	if err != nil {
		return err
	}
	defer s.bench.pacer.resume()
	if err := s.joinRest(ctx, parallelJoins); err != nil {
		return err
	}
	if err := sleep(ctx, connectTail); err != nil {
		return err
	}
	after, err := readUsage(s.plan.PID)
	s.report.ConnectCPU = ms(after.server.Sub(before.usage.server).Total) / float64(s.plan.Viewers-done)
	return err
}

// joinRest lets in who is missing, some at a time.
func (s *session) joinRest(ctx context.Context, atOnce int) error {
	done := len(s.viewers)
	rest := make([]*Viewer, s.plan.Viewers-done)
	err := each(atOnce, indices(len(rest)), func(i int) (err error) {
		rest[i], err = s.join(ctx, done+i)
		return err
	})
	s.joined = time.Now()
	s.viewers = append(s.viewers, slices.DeleteFunc(rest, func(v *Viewer) bool { return v == nil })...)
	return err
}

func (s *session) awaitMedia(ctx context.Context) error {
	for _, v := range s.viewers {
		if err := s.await(ctx, v); err != nil {
			return err
		}
	}
	return sleep(ctx, s.plan.Warm)
}

func (s *session) rssJoined(ctx context.Context) (err error) {
	if err := sleep(ctx, time.Until(s.joined.Add(s.plan.RSSWait))); err != nil {
		return err
	}
	r := &s.report.RSS
	r.Joined, err = rss(s.plan.PID)
	r.PerViewer = (r.Joined - r.Publisher) / int64(max(len(s.viewers), 1))
	return err
}

func (s *session) measure(ctx context.Context) (err error) {
	r := s.report
	if s.plan.Drop == nil {
		r.Counts, err = s.window(ctx)
	} else {
		err = s.measureDropped(ctx)
	}
	if err != nil {
		return err
	}
	r.RSS.End, err = rss(s.plan.PID)
	s.bench.hub.locked(func() {
		for _, p := range s.bench.pubs {
			r.Feedback.add(p.feedback)
			r.Retransmitted += p.rtx.sent.Load()
		}
	})
	r.Ended = s.bench.Ended(s.viewers)
	if err == nil && s.plan.After != nil {
		err = s.plan.After(ctx)
	}
	return err
}

// measureDropped discards the media of all but the full viewers meanwhile.
func (s *session) measureDropped(ctx context.Context) error {
	if err := s.plan.Drop.Add(lab.Viewers); err != nil {
		return err
	}
	defer s.plan.Drop.Remove(lab.Viewers)
	c, err := s.bench.measure(func() (Counts, error) { return s.window(ctx) })
	s.report.Counts = c
	return err
}

func (s *session) window(ctx context.Context) (c Counts, err error) {
	stop := func() Spread { return Spread{} }
	if s.plan.Ask {
		stop = ask(ctx, s.bench.http, s.plan.WHEP)
	}
	w, err := s.bench.Begin(s.viewers)
	if err != nil {
		stop()
		return c, err
	}
	err = sleep(ctx, s.plan.Window)
	s.report.Answer = stop()
	if err != nil {
		return c, err
	}
	return w.End()
}

func (s *session) join(ctx context.Context, i int) (*Viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	v, err := s.bench.Join(ctx, IsFull(i, s.plan.Full, s.plan.Viewers))
	if err != nil {
		return nil, fmt.Errorf("viewer %d: %w", i, err)
	}
	return v, nil
}

func (s *session) await(ctx context.Context, v *Viewer) error {
	ctx, cancel := context.WithTimeout(ctx, mediaTimeout)
	defer cancel()
	return s.bench.AwaitMedia(ctx, v)
}

// IsFull spreads full viewers evenly over all of them: it says whether the i-th to join, from 0, is one.
func IsFull(i, full, all int) bool { return (i+1)*full/all > i*full/all }

// each calls f for all items, some at once, and returns the first error.
func each[T any](atOnce int, items []T, f func(T) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var failure error
	slots := make(chan struct{}, atOnce)
	for _, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(item); err != nil {
				once.Do(func() { failure = err })
			}
		})
	}
	wg.Wait()
	return failure
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// rss is the memory of the server, 0 when it is not on this machine.
func rss(pid int) (int64, error) {
	if pid == 0 {
		return 0, nil
	}
	return proc.RSS(pid)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
