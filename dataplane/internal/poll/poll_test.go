package poll

import (
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
)

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// newPair returns two connected datagram sockets.
func newPair(t *testing.T) [2]int {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	return pair
}

// bound ends a test that would wait for ever for what it tests.
func bound(t *testing.T, what string) {
	timer := time.AfterFunc(time.Minute, func() { panic(what) })
	t.Cleanup(func() { timer.Stop() })
}

// A wake-up is never lost, wherever it falls between the look for work and the
// sleep. Each side waits for the other, so that the owner goes to sleep just
// when the next piece of work comes, again and again; a single loss stops both.
func TestNoWakeUpIsLost(t *testing.T) {
	bound(t, "a wake-up was lost")
	rounds := int64(100_000)
	if testing.Short() {
		rounds = 10_000
	}
	p := newPoller(t)
	var given, taken atomic.Int64
	go func() {
		for n := range rounds {
			for taken.Load() < n {
			}
			given.Store(n + 1)
			p.Wake()
		}
	}()
	idle := func() bool { return given.Load() == taken.Load() }
	for taken.Load() < rounds {
		if !idle() {
			taken.Store(given.Load())
			continue
		}
		if err := p.Sleep(1, clock.Never, idle); err != nil {
			t.Fatal(err)
		}
	}
}

// The same with several that wake.
func TestManyWake(t *testing.T) {
	bound(t, "a wake-up was lost")
	const wakers, each = 4, 5000
	p := newPoller(t)
	var given, taken atomic.Int64
	for range wakers {
		go func() {
			for range each {
				given.Add(1)
				p.Wake()
			}
		}()
	}
	idle := func() bool { return given.Load() == taken.Load() }
	for taken.Load() < wakers*each {
		taken.Store(given.Load())
		if err := p.Sleep(1, clock.Never, func() bool { return idle() && taken.Load() < wakers*each }); err != nil {
			t.Fatal(err)
		}
	}
}

// Work that came before the sleep was announced woke nobody: Sleep looks once
// more, and does not sleep.
func TestSleepLooksOnceMore(t *testing.T) {
	bound(t, "slept while there was work")
	p := newPoller(t)
	asked := 0
	if err := p.Sleep(1, clock.Never, func() bool { asked++; return false }); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

// A Wake during the look, when the sleep is announced already, ends the sleep.
func TestWakeDuringTheLook(t *testing.T) {
	bound(t, "slept through a wake-up")
	p := newPoller(t)
	if err := p.Sleep(1, clock.Never, func() bool { p.Wake(); return true }); err != nil {
		t.Error(err)
	}
	if p.Ready() {
		t.Error("a wake-up is left to end a sleep to come")
	}
}

// Who sleeps for ever is nudged awake, who wakes by itself is let sleep.
func TestNudge(t *testing.T) {
	bound(t, "slept through a nudge")
	p := newPoller(t)
	p.Nudge()
	for range 3 {
		if err := p.Sleep(1, clock.Never, func() bool { p.Nudge(); p.Nudge(); return true }); err != nil {
			t.Fatal(err)
		}
	}
	if n := pending(p); n != 3 {
		t.Errorf("%d wake-ups for three sleeps", n)
	}
	p.Sleep(1, 1+clock.Time(time.Millisecond), func() bool { p.Nudge(); return true })
	if n := pending(p); n != 0 {
		t.Errorf("%d wake-ups for a sleep that ends", n)
	}
}

// Waking who is awake costs no system call and ends no later sleep; neither do
// several wake-ups of one sleeper cost more than one.
func TestWakeOnlySleepers(t *testing.T) {
	p := newPoller(t)
	for _, slept := range []bool{false, true} {
		if slept {
			p.Sleep(1, 1, func() bool { return true })
		}
		p.Wake()
		if n := pending(p); n != 0 {
			t.Errorf("%d wake-ups for a thread that was awake, slept before: %v", n, slept)
		}
	}
	p.Sleep(1, clock.Never, func() bool { p.Wake(); p.Wake(); p.Wake(); return false })
	if n := pending(p); n != 1 {
		t.Errorf("%d wake-ups for one sleep", n)
	}
}

// pending takes the wake-ups that are written and not yet read.
func pending(p *Poller) uint64 {
	var count [8]byte
	if n, _ := unix.Read(p.event, count[:]); n != 8 {
		return 0
	}
	return uint64(count[0])
}

// A sleep does not end early, or the loop would spin to its deadline. A signal
// of the runtime may end one, but not each of many.
func TestTimeout(t *testing.T) {
	bound(t, "slept for ever")
	p := newPoller(t)
	now := clock.Time(1)
	for _, timeout := range []time.Duration{0, 1, 1900 * time.Microsecond} {
		var slept time.Duration
		for range 20 {
			before := time.Now()
			if err := p.Sleep(now, now.Add(timeout), func() bool { return true }); err != nil {
				t.Fatal(err)
			}
			slept = max(slept, time.Since(before))
			now += 1 << 32 // whatever the clock says, a sleep later it has gone on
			if slept >= timeout {
				break
			}
		}
		if slept < timeout {
			t.Errorf("slept %v of %v", slept, timeout)
		}
	}
}

// The timer stays where it is while it ends sleeps in time, goes to what is due
// sooner, and on to what is due next when it has ended one.
func TestTimerStays(t *testing.T) {
	p := newPoller(t)
	awake := func() bool { return false }
	for _, step := range []struct{ now, due, armed clock.Time }{
		{10, 1e9, 1e9},
		{20, 2e9, 1e9},         // later: the timer ends that sleep for nothing
		{30, clock.Never, 1e9}, // for ever
		{40, 5e8, 5e8},         // sooner
		{5e8, 3e9, 3e9},        // it has ended a sleep
		{4e9, 1e9, 1e9},        // due already
	} {
		if err := p.Sleep(step.now, step.due, awake); err != nil {
			t.Fatal(err)
		}
		if p.armed != step.armed {
			t.Errorf("at %d, due %d: the timer is at %d, want %d", step.now, step.due, p.armed, step.armed)
		}
	}
	bound(t, "the timer does not end a sleep")
	if err := p.Sleep(5e9, 5e9+1e6, func() bool { return true }); err != nil {
		t.Error(err)
	}
}

// The process lets its threads be woken late (docs/design/0019), which an epoll_wait
// with a timeout would be too.
func TestTimerKnowsNoSlack(t *testing.T) {
	runtime.LockOSThread() // not unlocked: the thread ends with the test
	const slack = 50 * time.Millisecond
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	p := newPoller(t)
	least := slack
	for now := clock.Time(1); now < 20; now++ {
		before := time.Now()
		if err := p.Sleep(now, now+1, func() bool { return true }); err != nil {
			t.Fatal(err)
		}
		least = min(least, time.Since(before))
	}
	if least > slack/10 {
		t.Errorf("woken after %v at the soonest", least)
	}
}

func TestSocketsWake(t *testing.T) {
	bound(t, "a datagram wakes nobody")
	p := newPoller(t)
	pair := newPair(t)
	if err := p.Add(pair[0]); err != nil {
		t.Fatal(err)
	}
	idle := func() bool { return true }
	for range 3 {
		if _, err := unix.Write(pair[1], []byte("x")); err != nil {
			t.Fatal(err)
		}
		// Not read between: each datagram is an edge.
		if err := p.Sleep(1, clock.Never, idle); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Add(pair[0]); err == nil {
		t.Error("a socket is watched twice")
	}
}

// Ready tells of each edge once, and never sleeps.
func TestReady(t *testing.T) {
	p := newPoller(t)
	pair := newPair(t)
	if p.Ready() {
		t.Error("ready before there is anything")
	}
	if err := p.Add(pair[0]); err != nil {
		t.Fatal(err)
	}
	for _, edge := range []func(){
		func() { unix.Write(pair[1], []byte("x")) },
		func() { p.AwaitRoom(pair[0], true) }, // and there is some
		func() { p.Sleep(1, clock.Never, func() bool { p.Wake(); return false }) },
	} {
		edge()
		if !p.Ready() {
			t.Error("an edge is not told")
		}
		if p.Ready() {
			t.Error("an edge is told twice")
		}
	}
}

// Room in a socket is told from when it is asked for, that which came before too.
func TestRoom(t *testing.T) {
	p := newPoller(t)
	pair := newPair(t)
	if err := p.Add(pair[0]); err != nil {
		t.Fatal(err)
	}
	fill := func() {
		for _, err := unix.Write(pair[0], []byte("x")); err != unix.EAGAIN; _, err = unix.Write(pair[0], []byte("x")) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	empty := func() {
		for _, err := unix.Read(pair[1], make([]byte, 1)); err == nil; _, err = unix.Read(pair[1], make([]byte, 1)) {
		}
	}
	for _, step := range []struct {
		what  string
		do    func()
		ready bool
	}{
		{"not asked for", func() { fill(); empty() }, false},
		{"there is none", func() { fill(); p.AwaitRoom(pair[0], true) }, false},
		{"there is some now", empty, true},
		{"there was some already", func() { p.AwaitRoom(pair[0], false); fill(); empty(); p.AwaitRoom(pair[0], true) }, true},
		{"not asked for any more", func() { p.AwaitRoom(pair[0], false); fill(); empty() }, false},
	} {
		step.do()
		if ready := p.Ready(); ready != step.ready {
			t.Errorf("%s: ready is %v", step.what, ready)
		}
	}
}

func TestCloseGivesDescriptorsBack(t *testing.T) {
	before := descriptors(t)
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if err := p.Sleep(1, 1, func() bool { return true }); err == nil {
		t.Error("a closed poller sleeps")
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// The kernel has what is wished of busy polling (ioctl_eventpoll(2), Linux 6.9).
func TestBusyPoll(t *testing.T) {
	p := newPoller(t)
	for _, wish := range []params{{50, 64, true, 0}, {20, 8, false, 0}, {0, 8, false, 0}} {
		used := p.BusyPoll(time.Duration(wish.usecs)*time.Microsecond, int(wish.budget), wish.prefer)
		var got params
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.epoll), unix.EPIOCGPARAMS, uintptr(unsafe.Pointer(&got)))
		if errno != 0 {
			if used {
				t.Error("in use, though this kernel does not know it")
			}
			t.Skipf("this kernel busy polls for no epoll set by itself: %v", errno)
		}
		if got != wish || used != (wish.usecs > 0) {
			t.Errorf("the kernel has %+v, want %+v; in use %v", got, wish, used)
		}
	}
}
