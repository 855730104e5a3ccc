package load

import (
	"context"
	"io"
	"net/http"
	"time"
)

const (
	askEvery   = 50 * time.Millisecond
	askTimeout = 5 * time.Second // an answer that takes longer counts as one that took this long
)

// ask sends OPTIONS to a URL again and again until the function that it returns is called; that says how long the answers took.
func ask(ctx context.Context, hc *http.Client, url string) (stop func() Spread) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []time.Duration)
	go func() {
		var took []time.Duration
		tick := time.NewTicker(askEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			took = append(took, answerTime(ctx, hc, url))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		done <- took[:len(took)-1] // the last one was cut short, or is the one more that nobody misses
	}()
	return func() Spread {
		cancel()
		return spread(<-done)
	}
}

func answerTime(ctx context.Context, hc *http.Client, url string) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, url, nil)
	if err != nil {
		return askTimeout
	}
	resp, err := hc.Do(req)
	if err != nil {
		return askTimeout
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return time.Since(start)
}
