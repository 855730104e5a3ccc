package ethtool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Conn is a connection to the kernel's ethtool family. It belongs to one
// goroutine, and to the network namespace in which it was made.
type Conn struct {
	fd     int
	family uint16
	seq    uint32
}

// Dial connects to the kernel. The error is the kernel's, ENOENT where it has no
// such family (before 5.6).
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &Conn{fd: fd, family: unix.GENL_ID_CTRL}
	// Errors in words, where the kernel has them, and no copy of what was asked.
	unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	// The kernel answers at once or not at all.
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	reply, err := c.ask(unix.CTRL_CMD_GETFAMILY, text(unix.CTRL_ATTR_FAMILY_NAME, unix.ETHTOOL_GENL_NAME), 0)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("ethtool netlink: %w", err)
	}
	for a := range attributes(reply) {
		if a.kind == unix.CTRL_ATTR_FAMILY_ID && len(a.data) == 2 {
			c.family = native.Uint16(a.data)
		}
	}
	return c, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// ask sends a request and returns the attributes of the reply, nothing for an
// acknowledgement.
func (c *Conn) ask(command uint8, body []byte, flags uint16) ([]byte, error) {
	c.seq++
	const version = 1
	m := make([]byte, unix.SizeofNlMsghdr+unix.GENL_HDRLEN, unix.SizeofNlMsghdr+unix.GENL_HDRLEN+len(body))
	native.PutUint32(m, uint32(cap(m)))
	native.PutUint16(m[4:], c.family)
	native.PutUint16(m[6:], unix.NLM_F_REQUEST|flags)
	native.PutUint32(m[8:], c.seq)
	m[16], m[17] = command, version
	if err := unix.Sendto(c.fd, append(m, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	b := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(c.fd, b, 0)
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		reply, seq, err := parseMessage(b[:n])
		if seq == c.seq || errors.Is(err, errShort) {
			return reply, err
		}
	}
}

var errShort = errors.New("the kernel's answer is cut off")

// parseMessage reads one netlink message: the attributes of a reply, or an error.
func parseMessage(b []byte) (reply []byte, seq uint32, err error) {
	if len(b) < unix.SizeofNlMsghdr {
		return nil, 0, errShort
	}
	size := int(native.Uint32(b))
	if size < unix.SizeofNlMsghdr+unix.GENL_HDRLEN || size > len(b) {
		return nil, 0, errShort
	}
	kind, flags, seq, body := native.Uint16(b[4:]), native.Uint16(b[6:]), native.Uint32(b[8:]), b[unix.SizeofNlMsghdr:size]
	if kind != unix.NLMSG_ERROR {
		return body[unix.GENL_HDRLEN:], seq, nil
	}
	errno := unix.Errno(-int32(native.Uint32(body)))
	switch {
	case errno == 0:
		return nil, seq, nil
	case errno == unix.EOPNOTSUPP:
		return nil, seq, ErrUnsupported
	}
	if rest := body[4:]; flags&unix.NLM_F_ACK_TLVS != 0 && len(rest) >= unix.SizeofNlMsghdr {
		for a := range attributes(rest[unix.SizeofNlMsghdr:]) {
			if a.kind == unix.NLMSGERR_ATTR_MSG {
				return nil, seq, fmt.Errorf("%w: %s", errno, unix.ByteSliceToString(a.data))
			}
		}
	}
	return nil, seq, errno
}

// attr is one netlink attribute (struct nlattr).
type attr struct {
	kind uint16
	data []byte
}

// attributes yields the attributes in b, up to one that does not fit.
func attributes(b []byte) iter.Seq[attr] {
	return func(yield func(attr) bool) {
		for len(b) >= unix.SizeofNlAttr {
			size := int(native.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) || !yield(attr{native.Uint16(b[2:]) &^ unix.NLA_F_NESTED, b[unix.SizeofNlAttr:size]}) {
				return
			}
			b = b[min(aligned(size), len(b)):]
		}
	}
}

func aligned(n int) int { return (n + 3) &^ 3 }

func attribute(kind uint16, data []byte) []byte {
	b := make([]byte, aligned(unix.SizeofNlAttr+len(data)))
	native.PutUint16(b, uint16(unix.SizeofNlAttr+len(data)))
	native.PutUint16(b[2:], kind)
	copy(b[unix.SizeofNlAttr:], data)
	return b
}

func nested(kind uint16, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return attribute(kind|unix.NLA_F_NESTED, all)
}

func text(kind uint16, s string) []byte { return attribute(kind, append([]byte(s), 0)) }

func number(kind uint16, n uint32) []byte {
	return attribute(kind, native.AppendUint32(nil, n))
}
