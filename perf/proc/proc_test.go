package proc

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	stat := "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 123 45 0 0 20 0 7 0 99 0 0"
	user, sys, err := parseStat([]byte(stat))
	if err != nil || user != 1230*time.Millisecond || sys != 450*time.Millisecond {
		t.Fatalf("parseStat = %v, %v, %v", user, sys, err)
	}
	if _, _, err := parseStat([]byte("42 (x) S 1 2")); err == nil {
		t.Fatal("a short line was accepted")
	}
}

func TestParseMachine(t *testing.T) {
	busy, err := parseMachine("cpu  10 20 30 4000 5000 6 7 800 0 0\ncpu0 1 2 3\n")
	if want := 730 * time.Millisecond; err != nil || busy != want {
		t.Fatalf("parseMachine = %v, %v, want %v", busy, err, want)
	}
	if _, err := parseMachine("intr 1"); err == nil {
		t.Fatal("a file without the cpu line was accepted")
	}
}

func TestParseRSS(t *testing.T) {
	rss, err := parseRSS("Name:\tx\nVmRSS:\t    1234 kB\nRssAnon: 5 kB\n")
	if err != nil || rss != 1234<<10 {
		t.Fatalf("parseRSS = %d, %v", rss, err)
	}
	if _, err := parseRSS("Name:\tx\nState:\tZ (zombie)\n"); err == nil {
		t.Fatal("a status without VmRSS was accepted")
	}
}

func TestReadCPUGrowsWithWork(t *testing.T) {
	before, err := ReadCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for {
		after, err := ReadCPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		// Until the tick counters have moved too, which the loop itself brings about.
		if used := after.Sub(before); used.User+used.Sys > 0 {
			if used.Total <= 0 || used.UserShare() < 0 || used.UserShare() > 1 {
				t.Fatalf("used %+v", used)
			}
			return
		}
	}
}

func TestStart(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(context.Background(), Here, addr, os.Stderr, "/bin/false"); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Fatalf("a server that ends at once: %v", err)
	}
}
