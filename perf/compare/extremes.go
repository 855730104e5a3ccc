package main

import (
	"context"
	"fmt"

	"sluice/perf/load"
	"sluice/perf/result"
	"sluice/perf/scenario"
)

// The limits of a search for the most viewers, how far it goes, and how close it comes: to an eighth.
const (
	lossLimit    = 0.1 // percent
	p99Limit     = 20  // ms
	firstViewers = 100
	mostViewers  = 10000
	closeness    = 8
)

// largest looks for the most viewers within the limits. A run that breaks them may have met other load: it is repeated once.
func (r *runner) largest(ctx context.Context, s scenario.Scenario, a scenario.Arm, out *result.Arm) (err error) {
	l := &result.Largest{Loss: lossLimit, P99: p99Limit}
	out.Largest = l
	l.Viewers, l.Failed, err = search(func(n int) (bool, error) {
		good, err := r.carries(ctx, s, a, out, n)
		if err == nil && !good {
			good, err = r.carries(ctx, s, a, out, n)
		}
		return good, err
	})
	return err
}

// search doubles a number until it is too many, then halves the gap to the most that was not, and returns both; failed is 0 when
// nothing was too many.
func search(carries func(int) (bool, error)) (most, failed int, err error) {
	for n := firstViewers; n <= mostViewers; {
		good, err := carries(n)
		if err != nil {
			return most, failed, err
		}
		if good {
			most = n
		} else {
			failed = n
		}
		switch {
		case failed == 0:
			n = 2 * n
		case failed-most <= max(most, firstViewers)/closeness:
			return most, failed, nil
		default:
			n = (most + failed) / 2
		}
	}
	return most, failed, nil
}

func (r *runner) carries(ctx context.Context, s scenario.Scenario, a scenario.Arm, out *result.Arm, n int) (bool, error) {
	p := s.Plan
	p.Viewers, p.Full = n, min(n, p.Full)
	rep, err := r.step(ctx, s, a, p, out)
	if err != nil {
		// That viewers cannot join or get no media is what a breakdown looks like.
		fmt.Printf("  %s %s: %d viewers: %v\n", s.Name, a.Name, n, err)
		return false, ctx.Err()
	}
	return 100*rep.Counts.LossShare() < lossLimit && rep.Counts.Latency.P99 < p99Limit, nil
}

// step adds one run with a plan of its own.
func (r *runner) step(ctx context.Context, s scenario.Scenario, a scenario.Arm, p load.Plan, out *result.Arm) (load.Report, error) {
	rep, err := r.start(ctx, s, a, p)
	if err != nil {
		return rep, err
	}
	out.Runs = append(out.Runs, rep)
	r.progress(s, a, rep)
	return rep, nil
}

const (
	mostFPS   = 1000
	saturated = 0.9 // of what is offered is delivered at most, beyond the peak
)

// overload looks for the rate of frames of which most is delivered. Then that rate and twice the peak are offered in turn, and medians
// are compared: what the machine carries differs from minute to minute.
func (r *runner) overload(ctx context.Context, s scenario.Scenario, a scenario.Arm, out *result.Arm) error {
	peak, most, err := r.saturate(ctx, s, a, out)
	if err != nil {
		return err
	}
	beyond := peak
	beyond.FPS, beyond.Ask = min(int(2*most/float64(peak.Viewers*peak.PPF)), mostFPS), true
	var found result.Peak
	var atPeak, atTwice []float64
	for range r.runs {
		rep, err := r.step(ctx, s, a, peak, out)
		if err != nil {
			return err
		}
		atPeak = append(atPeak, rep.Counts.PPS())
		if rep, err = r.step(ctx, s, a, beyond, out); err != nil {
			return err
		}
		atTwice = append(atTwice, rep.Counts.PPS())
		found.Offered = float64(rep.Counts.Due) / rep.Counts.Seconds
	}
	found.PPS, found.Overload = result.Middle(atPeak), result.Middle(atTwice)
	out.Peak = &found
	return nil
}

// saturate doubles the rate of frames until much of what is offered is lost. It returns the plan of which most was delivered, and how many
// packets a second that was.
func (r *runner) saturate(ctx context.Context, s scenario.Scenario, a scenario.Arm, out *result.Arm) (peak load.Plan, most float64, err error) {
	for p := s.Plan; p.FPS <= mostFPS; p.FPS *= 2 {
		rep, err := r.step(ctx, s, a, p, out)
		if err != nil {
			return peak, most, err
		}
		if pps := rep.Counts.PPS(); pps > most {
			peak, most = p, pps
		}
		if float64(rep.Counts.Delivered) < saturated*float64(rep.Counts.Due) {
			break
		}
	}
	return peak, most, nil
}
