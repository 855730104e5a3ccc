package udp

import (
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel says how much waits and how much it threw away: a socket that
// nobody reads fills up, and what does not fit is counted.
func TestMemoryCountsOverflows(t *testing.T) {
	s := listen(t, "127.0.0.1:0")
	if err := unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10); err != nil {
		t.Fatal(err)
	}
	if m := s.Memory(); m.ReceiveQueue != 0 || m.Overflows != 0 || m.ReceiveBuffer == 0 || m.SendBuffer == 0 {
		t.Fatalf("a fresh socket: %+v", m)
	}
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const sent = 500
	for i := range sent {
		if _, err := c.Write(packet(i, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	m := s.Memory()
	if m.ReceiveQueue < m.ReceiveBuffer/2 || m.Overflows == 0 {
		t.Fatalf("a full socket: %+v", m)
	}
	got := receive(t, s, sent-int(m.Overflows))
	if again := s.Memory(); len(got)+int(again.Overflows) != sent || again.ReceiveQueue != 0 {
		t.Errorf("%d of %d received, and then %+v", len(got), sent, again)
	}
}
