// Package steer brings a peer's datagrams to the shard that owns its session: a
// program at the media port's sockets (sk_reuseport, steer.bpf.c) picks one by a
// table of peers that the shards write, and for a first connectivity check by the
// ufrag in it. It only saves the relay from shard to shard: without it, or where
// it does not know, the kernel's hash decides, and the data plane works the same.
//
// steer.bpf.o is made from steer.bpf.c by `make bpf`; a test compares.
package steer

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"sluice/dataplane"
	"sluice/dataplane/pkt"
)

//go:embed steer.bpf.o
var object []byte

// peer is struct peer of steer.h.
type peer [20]byte

func keyOf(a pkt.Addr) (k peer) {
	copy(k[:], a.IP[:])
	binary.BigEndian.PutUint16(k[16:], a.Port)
	return k
}

// Steerer is the attached program with its maps. It is a dataplane.Steerer.
type Steerer struct {
	socket int // one of the group that the program is attached to
	maps   struct {
		Program *ebpf.Program `ebpf:"steer"`
		Peers   *ebpf.Map     `ebpf:"peers"`
		Sockets *ebpf.Map     `ebpf:"sockets"`
	}
}

// Attach loads the program and attaches it to the group of sockets, which are the
// shards' by index and share one port. At most peers addresses are remembered.
// It needs CAP_BPF and CAP_NET_ADMIN, or root (capabilities(7)).
func Attach(sockets []int, peers int) (dataplane.Steerer, error) {
	s := &Steerer{socket: sockets[0]}
	if err := s.load(peers); errors.Is(err, unix.EPERM) {
		return nil, errors.New("not permitted: it needs root, or CAP_BPF and CAP_NET_ADMIN")
	} else if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if err := s.attach(sockets); err != nil {
		s.free()
		return nil, err
	}
	return s, nil
}

func (s *Steerer) load(peers int) error {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return err
	}
	spec.Maps["peers"].MaxEntries = uint32(peers)
	return spec.LoadAndAssign(&s.maps, nil)
}

func (s *Steerer) attach(sockets []int) error {
	for shard, fd := range sockets {
		if err := s.maps.Sockets.Put(uint32(shard), uint64(fd)); err != nil {
			return fmt.Errorf("socket of shard %d: %w", shard, err)
		}
	}
	if err := unix.SetsockoptInt(s.socket, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, s.maps.Program.FD()); err != nil {
		return fmt.Errorf("SO_ATTACH_REUSEPORT_EBPF: %w", err)
	}
	return nil
}

// Learn says that what comes from remote belongs to a shard. When the table is
// full it does not: those datagrams go by the hash. Safe for concurrent use.
func (s *Steerer) Learn(remote pkt.Addr, shard int) {
	_ = s.maps.Peers.Put(keyOf(remote), uint32(shard))
}

// Forget ends what Learn said, unless another shard has said since that remote
// is its own. Safe for concurrent use.
func (s *Steerer) Forget(remote pkt.Addr, shard int) {
	key := keyOf(remote)
	var owner uint32
	if s.maps.Peers.Lookup(key, &owner) == nil && owner == uint32(shard) {
		_ = s.maps.Peers.Delete(key) // gone already, at worst
	}
}

// Close takes the program off the sockets, if they are still open: the hash
// decides from then on.
func (s *Steerer) Close() {
	_ = unix.SetsockoptInt(s.socket, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	s.free()
}

func (s *Steerer) free() {
	s.maps.Program.Close()
	s.maps.Peers.Close()
	s.maps.Sockets.Close()
}
