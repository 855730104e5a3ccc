package drop

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const setup = `link add lan0 type veth peer name far0
link set lan0 addrgenmode none
link set far0 addrgenmode none
link set lan0 up
link set far0 up
addr add 10.88.0.1/24 dev lan0
neigh add 10.88.0.2 lladdr 02:00:00:00:00:02 dev lan0
neigh add 10.88.0.3 lladdr 02:00:00:00:00:03 dev lan0
`

// namespace gives the test a network of its own, which goes with the thread.
func namespace(t *testing.T) {
	runtime.LockOSThread() // for ever: the thread ends with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("network namespace (needs root): %v", err)
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(setup)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ip: %v\n%s", err, out)
	}
}

// sender is a socket whose datagrams pass the interface.
func sender(t *testing.T) func(to string, p []byte, segment int) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return func(to string, p []byte, segment int) {
		t.Helper()
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, segment); err != nil {
			t.Fatal(err)
		}
		if err := unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Port: 7000, Addr: netip.MustParseAddr(to).As4()}); err != nil {
			t.Fatal(err)
		}
	}
}

// passed is how many frames have left the interface (proc_net(5), net/dev).
func passed(t *testing.T) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(table), "lan0:")
	if fields := strings.Fields(line); len(fields) > 9 {
		n, err = strconv.Atoi(fields[9])
	}
	if err != nil || line == "" {
		t.Fatalf("lan0 is not in %q, %v", table, err)
	}
	return n
}

// TestCounts sends trains, single packets and what must pass, and reads what was counted and what has left the interface.
func TestCounts(t *testing.T) {
	namespace(t)
	nic, err := net.InterfaceByName("lan0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Attach(nic.Index)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	send := sender(t)
	there := netip.MustParseAddr("10.88.0.2")
	if err := d.Add(there); err != nil {
		t.Fatal(err)
	}
	expect := func(want uint64, what string) {
		t.Helper()
		if n, err := d.Packets(); err != nil || n != want {
			t.Fatalf("%s: %d packets counted, %v, want %d", what, n, err, want)
		}
	}

	train := make([]byte, 4*1000+300)
	train[0], train[1] = 0x90, 96|0x80
	send("10.88.0.2", train, 1000)
	expect(5, "a train of five")
	send("10.88.0.2", train[:200], 0)
	expect(6, "a single packet")
	report := append(train[:4000:4000], 0x80, 200, 0, 6)
	send("10.88.0.2", report, 1000)
	expect(10, "a train of four with a report behind it")
	send("10.88.0.2", []byte{0xbf, 224, 0}, 0)
	expect(11, "the smallest RTP of the last class")

	if n := passed(t); n != 0 {
		t.Fatalf("%d frames of what is discarded have passed", n)
	}
	for _, c := range []struct {
		name   string
		p      []byte
		passes int
	}{
		{"RTCP", []byte{0x80, 200, 0, 6}, 0}, {"last RTCP type", []byte{0x80, 223, 0, 6}, 0},
		{"STUN", []byte{0, 1, 0, 0}, 1}, {"DTLS", []byte{22, 254, 253, 0}, 1}, {"one byte", []byte{0x80}, 1},
	} {
		before := passed(t)
		send("10.88.0.2", c.p, 0)
		expect(11, c.name)
		if n := passed(t) - before; n != c.passes {
			t.Errorf("%s: %d frames have passed, want %d", c.name, n, c.passes)
		}
	}
	send("10.88.0.3", train, 1000)
	expect(11, "another address")

	if err := d.Remove(there); err != nil {
		t.Fatal(err)
	}
	send("10.88.0.2", train[:200], 0)
	expect(11, "an address that was taken out")
	if err := d.Add(there); err != nil {
		t.Fatal(err)
	}
	send("10.88.0.2", train[:200], 0)
	expect(12, "an address that is back")
}
