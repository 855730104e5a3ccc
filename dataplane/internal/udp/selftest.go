package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

// Abilities say what the running kernel does right: nil for what it does, else
// what happened instead.
type Abilities struct {
	ShortTails  error // a UDP_SEGMENT message whose last packet is shorter arrives as its packets
	EqualTrains error // and so does one whose packets are all of one size
	GRO         error // a train is received as one message, with the size of its packets
	Timestamps  error // the kernel tells when a datagram came
	Priorities  error // a message may say its priority in the queues (since Linux 6.14)
}

// SelfTest tries the kernel's accelerators on a pair of sockets of the loopback
// device, and compares every byte. A version says little: fixes are carried
// back, and Linux 7.0-rc1 to 7.1.4 damage trains whose packets all have one size.
// It takes a few milliseconds; an answer that does not come, a second.
func SelfTest() Abilities {
	none := Abilities{}
	a := Abilities{
		ShortTails: try(none, pkt.Accel{GSO: true}, trial{sizes: []int{700, 700, 700, 700, 123}}),
		Timestamps: try(none, pkt.Accel{Timestamps: true}, trial{sizes: []int{100}, stamped: true}),
		Priorities: try(none, pkt.Accel{}, trial{sizes: []int{100}, mark: pkt.Mark{Class: 1 << 2, Priority: 6}}),
	}
	a.EqualTrains, a.GRO = a.ShortTails, a.ShortTails
	if a.ShortTails != nil {
		return a // without trains there is nothing to receive as one here
	}
	a.EqualTrains = try(none, pkt.Accel{GSO: true}, trial{sizes: []int{700, 700, 700, 700, 700}})
	a.GRO = try(none, pkt.Accel{GSO: true, GRO: true}, trial{sizes: []int{700, 700, 700, 700, 123}, merged: true})
	return a
}

// trial is a run of packets and what must be true of its arrival, beside its
// bytes.
type trial struct {
	sizes   []int
	merged  bool // it is one message
	stamped bool // it has a time that is not the receiver's own
	mark    pkt.Mark
}

// try sends the run of a trial from one socket to another that both use the
// given accelerators.
func try(able Abilities, use pkt.Accel, c trial) error {
	loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	options := Options{ReceiveBuffer: 1 << 17, SendBuffer: 1 << 17, Able: able}
	from, err := Listen(loopback, options)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := Listen(loopback, options)
	if err != nil {
		return err
	}
	defer to.Close()
	from.Use(use)
	to.Use(use)
	if from.Uses() != use || to.Uses() != use {
		return fmt.Errorf("the kernel refuses the socket option: %+v of %+v", to.Uses(), use)
	}

	var want [][]byte
	b := pkt.NewBatch(make([]byte, 1<<16), len(c.sizes))
	path := pkt.Path{Remote: pkt.Addr{IP: loopback.Addr().As16(), Port: to.port}, Local: loopback.Addr().As16()}
	b.Mark(c.mark)
	for i, size := range c.sizes {
		packet := b.Reserve(size)
		for at := range packet {
			packet[at] = byte(at*7 + i*31)
		}
		want = append(want, bytes.Clone(packet))
		b.Commit(&path, size)
	}
	if _, dropped := from.Send(b); dropped > 0 || use.GSO && from.Counters.TxMessages != 1 {
		return fmt.Errorf("the kernel refuses a train of %d packets with the mark %+v", len(c.sizes), c.mark)
	}
	return c.check(to, want)
}

// check receives what was sent and compares.
func (c *trial) check(to *Socket, want [][]byte) error {
	const before, after = clock.Time(1), clock.Time(2)
	for n := 0; n < len(want); {
		rx, _ := to.Receive(time.Unix(0, 0), before)
		if len(rx) == 0 {
			if err := readable(to); err != nil {
				return fmt.Errorf("%d of %d packets arrived: %w", n, len(want), err)
			}
		}
		for i := range rx {
			if n == len(want) || !bytes.Equal(rx[i].Data, want[n]) {
				return fmt.Errorf("packet %d of %d arrived with other bytes, or as %d bytes", n+1, len(want), len(rx[i].Data))
			}
			if c.stamped && rx[i].Arrived < after {
				return errors.New("datagrams come without a time")
			}
			n++
		}
	}
	if c.merged && to.Counters.RxMessages != 1 {
		return fmt.Errorf("a train arrived as %d messages", to.Counters.RxMessages)
	}
	return nil
}

// readable returns when the socket has something, with an error when a second
// has passed.
func readable(s *Socket) error {
	for end := time.Now().Add(time.Second); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, 100)
		switch {
		case n > 0:
			return nil
		case err != nil && err != unix.EINTR:
			return err
		case time.Now().After(end):
			return errors.New("nothing more comes")
		}
	}
}
