package udp

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/netopt/host/hosttest"
)

// A full socket: Send says so, and goes on where it stopped, in the middle of a
// chunk, without loss, repetition or disorder.
//
// Loopback takes datagrams at once, so nothing fills up there. The test runs
// itself again in a network namespace of its own, and sends to a neighbour whose
// link address is not known yet: until the test tells it, the kernel keeps what
// was sent, at the sender's expense.
func TestSendToFullSocket(t *testing.T) {
	if !hosttest.Isolated(t, syscall.CLONE_NEWNET) {
		return
	}
	peer := far(t)
	s, err := Listen(netip.MustParseAddrPort("[::]:0"), Options{ReceiveBuffer: 1, SendBuffer: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Use(every)
	b := newBatch()
	want := mixed(t, b, path("10.9.0.2", peer.Port(), "10.9.0.1"))

	done, dropped := s.Send(b)
	if done || dropped != 0 {
		t.Fatalf("the smallest send buffer took %d packets: done %v, %d dropped", len(want), done, dropped)
	}
	if again, dropped := s.Send(b); again || dropped != 0 {
		t.Fatalf("a full socket: done %v, %d dropped", again, dropped)
	}
	ip4(t, "neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev near nud permanent")
	for {
		done, dropped := s.Send(b)
		if dropped != 0 {
			t.Fatalf("%d dropped", dropped)
		}
		if done {
			break
		}
		wait(t, s, unix.POLLOUT)
	}
	got := receive(t, peer, len(want))
	checkPackets(t, got, want)
	if !s.Uses().GSO {
		t.Error("a full socket ended segmentation")
	}
}

// far returns a socket at the other end of a link, 10.9.0.2 seen from 10.9.0.1.
// It lies in a second namespace, else the kernel would not use the link.
func far(t *testing.T) *Socket {
	t.Helper()
	ip4(t, "link add near type veth peer name far address 02:00:00:00:00:02")
	type result struct {
		s   *Socket
		err error
	}
	thread, moved, opened := make(chan int), make(chan struct{}), make(chan result)
	go func() {
		runtime.LockOSThread() // for ever: the thread has another network
		err := unix.Unshare(unix.CLONE_NEWNET)
		thread <- unix.Gettid()
		<-moved
		for _, args := range []string{"addr add 10.9.0.2/24 dev far", "link set far up arp off"} {
			err = errors.Join(err, runIP(args))
		}
		s, listenErr := Listen(netip.MustParseAddrPort("10.9.0.2:0"), Options{ReceiveBuffer: 4 << 20, SendBuffer: 1})
		opened <- result{s, errors.Join(err, listenErr)}
	}()
	ip4(t, "link set far netns "+strconv.Itoa(<-thread))
	ip4(t, "addr add 10.9.0.1/24 dev near")
	ip4(t, "link set near up")
	// The neighbour does not answer; the kernel must not give it up meanwhile.
	if err := os.WriteFile("/proc/sys/net/ipv4/neigh/near/mcast_solicit", []byte("1000"), 0o644); err != nil {
		t.Fatal(err)
	}
	close(moved)
	r := <-opened
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.s.Close() })
	return r.s
}

func ip4(t *testing.T, args string) {
	t.Helper()
	if err := runIP(args); err != nil {
		t.Fatal(err)
	}
}

// runIP runs ip(8) in the calling thread's network.
func runIP(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return errors.New("ip " + args + ": " + err.Error() + ": " + string(out))
	}
	return nil
}
