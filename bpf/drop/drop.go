// Package drop discards RTP and RTCP to chosen IPv4 addresses at an interface's egress, in the kernel, and counts the RTP. It is for measuring: what
// a server's sending costs is all spent by then, a train of segments (UDP_SEGMENT) is still one buffer as at a network card that
// splits it, and no receiver takes part. STUN and DTLS pass, so sessions stay alive.
//
// The program is attached by tcx, which needs Linux 6.6 and CAP_BPF with CAP_NET_ADMIN; it goes when the process ends.
package drop

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// maxAddresses bounds how many addresses can be discarded at once.
const maxAddresses = 64

// Drop is the program on one interface. Its methods are not safe for concurrent use.
type Drop struct {
	counts *ebpf.Map // IPv4 address -> packets, for each CPU; an address with an entry is discarded
	prog   *ebpf.Program
	link   link.Link
	past   uint64 // packets of addresses that were taken out again
}

// Attach puts the program on the interface with an index, in the network namespace of the calling thread. Nothing is discarded yet.
func Attach(ifindex int) (*Drop, error) {
	d := &Drop{}
	err := d.attach(ifindex)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("counting drop on interface %d: %w", ifindex, err)
	}
	return d, nil
}

func (d *Drop) attach(ifindex int) (err error) {
	if d.counts, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 8, MaxEntries: maxAddresses}); err != nil {
		return err
	}
	spec := &ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: program(d.counts), License: "GPL"}
	if d.prog, err = ebpf.NewProgram(spec); err != nil {
		return err
	}
	d.link, err = link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: d.prog, Attach: ebpf.AttachTCXEgress})
	return err
}

// Add discards RTP and RTCP to an address from now on.
func (d *Drop) Add(to netip.Addr) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return err
	}
	return d.counts.Update(to.As4(), make([]uint64, cpus), ebpf.UpdateNoExist)
}

// Remove lets RTP and RTCP to an address pass again.
func (d *Drop) Remove(to netip.Addr) error {
	n, err := d.count(to.As4())
	if err != nil {
		return err
	}
	d.past += n
	return d.counts.Delete(to.As4())
}

// Packets is how many RTP packets were discarded so far; a train counts as the packets that it would have become.
func (d *Drop) Packets() (uint64, error) {
	total := d.past
	var key [4]byte
	var values []uint64
	for it := d.counts.Iterate(); ; {
		if !it.Next(&key, &values) {
			return total, it.Err()
		}
		total += sum(values)
	}
}

func (d *Drop) count(key [4]byte) (uint64, error) {
	var values []uint64
	err := d.counts.Lookup(key, &values)
	return sum(values), err
}

func sum(values []uint64) (n uint64) {
	for _, v := range values {
		n += v
	}
	return n
}

// Close detaches the program.
func (d *Drop) Close() error {
	var list []error
	if d.link != nil {
		list = append(list, d.link.Close())
	}
	if d.prog != nil {
		list = append(list, d.prog.Close())
	}
	if d.counts != nil {
		list = append(list, d.counts.Close())
	}
	return errors.Join(list...)
}
