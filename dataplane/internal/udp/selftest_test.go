package udp

import (
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/dataplane/pkt"
	"sluice/netopt/host/hosttest"
)

func TestSelfTest(t *testing.T) {
	a := SelfTest()
	if a.ShortTails != nil || a.GRO != nil || a.Timestamps != nil {
		t.Errorf("this kernel has all of it since 5.0: %+v", a)
	}
	if a.Priorities != nil {
		t.Logf("this kernel takes no priority by message: %v", a.Priorities)
	}
	if a.EqualTrains != nil {
		t.Logf("this kernel damages trains of equal packets: %v", a.EqualTrains)
	}
}

// Damage is found: other bytes, other sizes, packets that are missing, times
// that are not there.
func TestSelfTestFindsFaults(t *testing.T) {
	sent := [][]byte{packet(0, 200), packet(1, 200), packet(2, 100)}
	damaged := packet(1, 200)
	damaged[150] ^= 1
	for _, c := range []struct {
		name   string
		trial  trial
		want   [][]byte
		finds  string
		stamps bool
	}{
		{"nothing", trial{stamped: true}, sent, "", true},
		{"another byte", trial{}, [][]byte{sent[0], damaged, sent[2]}, "packet 2 of 3 arrived with other bytes", true},
		{"another size", trial{}, [][]byte{sent[0], sent[1], packet(2, 101)}, "packet 3 of 3", true},
		{"one missing", trial{}, append(sent[:3:3], packet(3, 10)), "3 of 4 packets arrived: nothing more comes", true},
		{"no time", trial{stamped: true}, sent, "without a time", false},
		{"several messages", trial{merged: true}, sent, "a train arrived as 3 messages", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := listen(t, "[::]:0"), listen(t, "[::]:0")
			from.Use(pkt.Accel{})
			to.Use(pkt.Accel{Timestamps: c.stamps})
			b := newBatch()
			for _, p := range sent {
				commit(t, b, path("127.0.0.1", to.Port(), "127.0.0.1"), p)
			}
			from.Send(b)
			err := c.trial.check(to, c.want)
			if (err == nil) != (c.finds == "") || err != nil && !strings.Contains(err.Error(), c.finds) {
				t.Errorf("finds %v, want %q", err, c.finds)
			}
		})
	}
}

// Where there is no loopback device to test on, nothing is used.
func TestSelfTestWithoutLoopback(t *testing.T) {
	if !hosttest.Isolated(t, syscall.CLONE_NEWNET) {
		return
	}
	a := SelfTest()
	if a.ShortTails == nil || a.EqualTrains == nil || a.GRO == nil || a.Timestamps == nil {
		t.Errorf("something works without a device: %+v", a)
	}
}

func TestSelfTestGivesDescriptorsBack(t *testing.T) {
	lowest := func() int {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		return fd
	}
	before := lowest()
	SelfTest()
	if after := lowest(); after != before {
		t.Errorf("the lowest free descriptor was %d and is %d", before, after)
	}
}
