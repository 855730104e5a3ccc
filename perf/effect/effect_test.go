package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/perf/lab"
	"sluice/perf/load"
	"sluice/perf/result"
	"sluice/perf/rig"
)

func TestMain(m *testing.M) { lab.Test(m.Run) }

// figuresOf makes a report of a mean and a p99 in ms, requests a second, and us of CPU for each.
func figuresOf(mean, p99 float64, perSecond uint64, micros float64) load.Report {
	return load.Report{Counts: load.Counts{
		Seconds: 1, Delivered: perSecond, CPUSeconds: micros * float64(perSecond) / 1e6, Latency: load.Latency{Mean: mean, P99: p99, Max: p99},
	}}
}

// The verdict names what a step changed, both ways, and says so plainly where it changed nothing.
func TestVerdicts(t *testing.T) {
	l := newLadder(result.Scenario{Name: "x", Unit: "request"}, []step{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d", than: "a"}})
	l.quoted = []quote{{12.4, 8200}, {6.1, 15600}}
	for i, runs := range [][]load.Report{
		{figuresOf(10, 40, 1000, 20), figuresOf(12, 44, 900, 20)},
		{figuresOf(5, 20, 2000, 20), figuresOf(5, 20, 2000, 20)},
		{figuresOf(4, 19, 1900, 30), figuresOf(6, 21, 2100, 30)}, // scatters around the one before, but for CPU
		{figuresOf(11, 41, 960, 20.5), figuresOf(11.5, 43, 950, 19.5)},
	} {
		l.Arms[i].Runs = runs
	}
	for i, want := range []string{
		"", "mean 2.20x better, p99 2.10x better, throughput 2.11x better", "CPU 1.50x worse", "against a: gains nothing",
	} {
		if got := l.verdict(i); got != want {
			t.Errorf("step %d: %q, want %q", i, got, want)
		}
	}
	if got, want := l.row(1)[:6], []string{"5.000 (2.20x)", "20.000 (2.10x)", "2000 (2.11x)", "20.00 (1.00x)", "2 (0)", "6.1 ms, 15600/s (2.0x, 1.9x)"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	l.flood = newLadder(result.Scenario{}, l.steps).Scenario
	l.flood.Arms[0].Runs, l.flood.Arms[1].Runs = []load.Report{figuresOf(0, 0, 100, 1)}, []load.Report{figuresOf(0, 0, 700, 1)}
	if got := l.row(1)[2]; got != "700 (7.00x)" {
		t.Errorf("throughput is not the flood's: %q", got)
	}
	l.note()
	if got, want := l.Arms[1].Remarks(), []string{"mean 2.20x better, p99 2.10x better, throughput 7.00x better; the field quotes 6.1 ms, 15600/s (2.0x, 1.9x)"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	text := markdown([]*ladder{l})
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") && strings.Count(line, "|") != 9 {
			t.Errorf("a row of Markdown has other columns than the others: %s", line)
		}
	}
	if !strings.Contains(text, "requests/s") || strings.Contains(text, "NaN (") {
		t.Error(text)
	}
}

func newEffect(t *testing.T) *effect {
	t.Helper()
	t.Chdir("../..")
	l, err := lab.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	out, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	return &effect{options: options{rounds: 1, tries: 1, window: 200 * time.Millisecond, viewers: 4, clients: 4, dir: t.TempDir()}, lab: l, stdout: out}
}

// TestEffect carries everything out, briefly.
func TestEffect(t *testing.T) {
	e := newEffect(t)
	if err := e.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(e.stdout.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"edge-triggered epoll", "recvfrom/sendto", "+ steering", "ICE-TCP", "control, Sluice", "media, Sluice", "12.4 ms, 8200/s"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the table lacks %q", want)
		}
	}
	if bytes.Contains(out, []byte("NaN")) {
		t.Errorf("a figure is missing:\n%s", out)
	}
	for _, file := range []string{"effect.json", "effect.html", "effect.md"} {
		if info, err := os.Stat(e.dir + "/" + file); err != nil || info.Size() < 1000 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestSwitchesSwitch: the steps of the media path make the messages that they say, so their rows show what they name.
func TestSwitchesSwitch(t *testing.T) {
	e := newEffect(t)
	stop, err := e.start(t.Context(), "sluice", rig.Place{Lab: e.lab})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	err = e.discarding(t.Context(), func(b *load.Bench, viewers []*load.Viewer) error {
		for i, gso := range []bool{false, true, true} { // the first steps of sluiceMedia
			st := step{attrs: []string{fmt.Sprintf("dataplane/gso=%d", min(i, 1)), fmt.Sprintf("dataplane/gro=%d", i/2)}}
			if err := e.set(t.Context(), st); err != nil {
				return err
			}
			before := e.read(t) // media flows meanwhile: the ratios are not exact
			if _, err := b.Measure(context.Background(), viewers, e.window); err != nil {
				return err
			}
			now := e.read(t)
			perReceive := (now["rx_packets"] - before["rx_packets"]) / (now["rx_messages"] - before["rx_messages"])
			perSend := (now["tx_packets"] - before["tx_packets"]) / (now["tx_messages"] - before["tx_messages"])
			if gro := i == 2; (perSend > 2) != gso || (perReceive > 2) != gro {
				t.Errorf("step %d: %.2f packets a message in, %.2f out", i, perReceive, perSend)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestControlSwitches: the steps of the control path set the server's sockets and threads as they say. A descriptor of another process
// is asked through a copy (pidfd_getfd(2)).
func TestControlSwitches(t *testing.T) {
	e := newEffect(t)
	for _, c := range []struct {
		server string
		steps  []step
		epoll  bool // always
	}{{"standin", standinSteps, false}, {"sluice", sluiceSteps, true}} {
		t.Run(c.server, func(t *testing.T) {
			stop, err := e.start(t.Context(), c.server, rig.Place{})
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			idle := 1 + runtime.NumCPU() // the stand-in's threads that accept and that serve epoll sets
			for _, st := range c.steps {
				if err := e.set(t.Context(), st); err != nil {
					t.Fatal(err)
				}
				e.connect(t, 8, st)
			}
			if c.epoll {
				return
			}
			for value, more := range map[string]int{"0": 8, "1": 0} { // threads for 8 connections
				if err := e.set(t.Context(), step{attrs: []string{"epoll=" + value}}); err != nil {
					t.Fatal(err)
				}
				http.DefaultClient.CloseIdleConnections() // that of the line before
				await(t, "its threads to end", func() bool { return e.threads(t) == idle })
				list := e.dial(t, 8)
				await(t, "the threads of 8 connections", func() bool { return e.threads(t) == idle+more })
				hangUp(list)
			}
		})
	}
}

// connect connects, and waits until each of the connections has TCP_NODELAY at the server's end as the step has it: a server sets it
// some time after it accepts.
func (e *effect) connect(t *testing.T, clients int, st step) {
	t.Helper()
	list := e.dial(t, clients)
	defer hangUp(list)
	ports := map[int]bool{}
	for _, c := range list {
		ports[c.LocalAddr().(*net.TCPAddr).Port] = true
	}
	process, err := unix.PidfdOpen(e.server.PID(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	want := slices.Repeat([]bool{!st.nagle}, clients)
	await(t, fmt.Sprintf("%s: TCP_NODELAY of all connections to be %v", st.name, !st.nagle), func() bool {
		var noDelay []bool
		for fd := range 200 {
			own, err := unix.PidfdGetfd(process, fd, 0)
			if err != nil {
				continue
			}
			var peer int
			switch name, _ := unix.Getpeername(own); name := name.(type) {
			case *unix.SockaddrInet4:
				peer = name.Port
			case *unix.SockaddrInet6:
				peer = name.Port
			}
			if v, err := unix.GetsockoptInt(own, unix.IPPROTO_TCP, unix.TCP_NODELAY); err == nil && ports[peer] {
				noDelay = append(noDelay, v != 0)
			}
			unix.Close(own)
		}
		return slices.Equal(noDelay, want)
	})
}

func (e *effect) dial(t *testing.T, clients int) (list []net.Conn) {
	t.Helper()
	url, err := url.Parse(e.server.AttrURL("x"))
	if err != nil {
		t.Fatal(err)
	}
	for range clients {
		c, err := net.Dial("tcp", url.Host)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

func hangUp(list []net.Conn) {
	for _, c := range list {
		c.Close()
	}
}

func (e *effect) threads(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", e.server.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (e *effect) read(t *testing.T) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, name := range []string{"rx_packets", "rx_messages", "tx_packets", "tx_messages"} {
		v, err := e.server.Metric("sluice_" + name + "_total")
		if err != nil {
			t.Fatal(err)
		}
		values[name] = v
	}
	return values
}
