package events

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/netopt/attr"
)

func TestName(t *testing.T) {
	for message, want := range map[string]string{
		"session created": "session_created",
		"HTTPS":           "https",
		`no unix socket: "sluice attr" will not find it`: "no_unix_socket",
		"  DTLS 1.2, -  done.":                           "dtls_1",
		"":                                               "",
	} {
		if got := Name(message); got != want {
			t.Errorf("%q names %q, want %q", message, got, want)
		}
	}
}

// Of one event so many messages a second are logged, others are not touched by
// it, errors always pass, and what was left out is told.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := attr.NewTree(&Attrs)
		if err := tree.Set("log/events_per_second", "3"); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		handler := NewHandler(slog.NewTextHandler(&out, nil))
		handler.Follow(tree)
		log := slog.New(handler).With("a", 1).WithGroup("g")
		lines := func() int {
			n := strings.Count(out.String(), "\n")
			out.Reset()
			return n
		}
		for range 10 {
			log.Info("hello: there", "n", 1)
		}
		log.Info("other")
		for range 5 {
			log.Error("hello")
		}
		if n := lines(); n != 3+1+5 {
			t.Errorf("%d lines", n)
		}
		time.Sleep(time.Second)
		log.Warn("hello")
		if got := out.String(); !strings.Contains(got, "event=hello") || strings.Contains(got, "omitted") {
			t.Errorf("errors told already what was left out: %s", got)
		}
		for range 7 {
			log.Info("hello")
		}
		lines()
		time.Sleep(time.Second)
		log.Info("hello")
		if got := out.String(); !strings.Contains(got, "omitted=5") {
			t.Errorf("after five that were left out: %s", got)
		}
		if got, _ := tree.Get("log/suppressed_messages"); got != "12" {
			t.Errorf("%s messages were suppressed", got)
		}
		log.Info("a name of its own", "x", 1, "event", "named")
		if got := out.String(); strings.Count(got, "event=") != 2 || !strings.Contains(got, "event=named") {
			t.Errorf("%s", got)
		}
		if err := tree.Set("log/events_per_second", "0"); err != nil {
			t.Fatal(err)
		}
		lines()
		for range 100 {
			log.Info("hello")
		}
		if n := lines(); n != 100 {
			t.Errorf("without a limit %d of 100 lines", n)
		}
	})
}
