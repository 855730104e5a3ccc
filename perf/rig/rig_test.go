package rig

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestMetric(t *testing.T) {
	n, err := metric(strings.NewReader("# TYPE go_goroutines gauge\ngo_goroutines 42\ngo_info 1\n"), "go_goroutines")
	if err != nil || n != 42 {
		t.Fatalf("metric = %v, %v", n, err)
	}
	if _, err := metric(strings.NewReader("go_info 1\n"), "go_goroutines"); err == nil {
		t.Fatal("a text without the metric was accepted")
	}
}

func TestLookup(t *testing.T) {
	if k, err := Lookup("baseline"); err != nil || k.Name != "baseline" {
		t.Fatalf("Lookup = %+v, %v", k, err)
	}
	if _, err := Lookup("other"); err == nil {
		t.Fatal("an unknown server was accepted")
	}
	k, err := Lookup("rival=http://host:1/{}/endpoint")
	if err != nil || k.Name != "rival" {
		t.Fatalf("Lookup = %+v, %v", k, err)
	}
	s, err := k.Start(t.Context(), Place{}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if target := s.Target("x"); target.WHIP != "http://host:1/whip/endpoint" || target.WHEP != "http://host:1/whep/endpoint" || target.PID != 0 {
		t.Fatalf("target is %+v", target)
	}
	if _, err := Lookup("other"); err == nil || !strings.Contains(err.Error(), "sluice, baseline") {
		t.Fatalf("error is %v, want one that lists the names", err)
	}
}

// TestScrape reads metrics again and again until it is told to stop, and gives up on a server that has none.
func TestScrape(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusNotFound} {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked == 3 {
				cancel()
			}
			w.WriteHeader(status)
		}))
		s := &Server{admin: strings.TrimPrefix(web.URL, "http://")}
		n, err := s.Scrape(ctx, time.Millisecond)
		if good := status == http.StatusOK; good != (err == nil) || good && (asked != 3 || n < 2) || !good && asked != 1 {
			t.Errorf("status %d: asked %d times, %d, %v", status, asked, n, err)
		}
		cancel()
		web.Close()
	}
}
