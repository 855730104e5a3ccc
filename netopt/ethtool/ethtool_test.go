package ethtool

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/netopt/host/hosttest"
)

// On a virtual cable, in a network that the test makes for itself.
func TestVeth(t *testing.T) {
	if !hosttest.Isolated(t, syscall.CLONE_NEWNET) {
		return
	}
	if out, err := exec.Command("ip", strings.Fields("link add near numrxqueues 4 numtxqueues 4 type veth peer name far")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	is := func(option, what, want string) {
		t.Helper()
		if got, err := c.Get(option, "near", what); got != want || err != nil {
			t.Errorf("%s %s is %q (%v), want %q", option, what, got, err, want)
		}
	}
	set := func(option, what, value string) {
		t.Helper()
		if err := c.Set(option, "near", what, value); err != nil {
			t.Errorf("%s %s %s: %v", option, what, value, err)
		}
		is(option, what, value)
	}
	is("-L", "rx", "4")
	set("-L", "rx", "3")
	set("-L", "rx", "2")
	set("-K", "rx-gro", "on")
	set("-K", "rx-gro", "off")
	set("-K", "tx-udp-segmentation", "off")
	set("-K", "tx-udp-segmentation", "on")
	for _, ask := range [][2]string{{"-G", "rx"}, {"-C", "rx-usecs"}, {"-K", "no-such-offload"}, {"-X", "rx"}, {"-L", "combined-min"}} {
		if got, err := c.Get(ask[0], "near", ask[1]); err != ErrUnsupported {
			t.Errorf("%v: %q, %v", ask, got, err)
		}
	}
	if _, err := c.Get("-L", "absent", "rx"); !errors.Is(err, unix.ENODEV) {
		t.Errorf("absent: %v", err)
	}
	if err := c.Set("-L", "near", "rx", "64"); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "maximum") {
		t.Errorf("too many: %v", err)
	}
	for _, bad := range [][3]string{{"-L", "rx", "many"}, {"-K", "rx-gro", "1"}, {"-C", "adaptive-rx", "maybe"}, {"-C", "nothing", "on"}} {
		if err := c.Set(bad[0], "near", bad[1], bad[2]); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// Bytes that no kernel sends do no harm.
func FuzzMessage(f *testing.F) {
	for _, body := range [][]byte{nil, nested(unix.ETHTOOL_A_FEATURES_ACTIVE, nested(unix.ETHTOOL_A_BITSET_BITS, nested(1, text(2, "rx-gro")))), {3, 0, 1, 0}, {255, 255, 1, 0}} {
		m := append(make([]byte, 20), body...)
		native.PutUint32(m, uint32(len(m)))
		f.Add(m)
		m = append([]byte(nil), m...)
		native.PutUint16(m[4:], unix.NLMSG_ERROR)
		native.PutUint16(m[6:], unix.NLM_F_ACK_TLVS)
		native.PutUint32(m[16:], ^uint32(0))
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, _, err := parseMessage(b)
		if err != nil && reply != nil {
			t.Error("a reply and an error")
		}
		for a := range attributes(reply) {
			bitNames(a.data)
		}
	})
}
