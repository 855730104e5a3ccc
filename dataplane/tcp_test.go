package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"
	"golang.org/x/sys/unix"

	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
	"sluice/netopt/attr"
)

const tcpPwd = "a password of 22 bytes"

// dialTCP connects to a plane's media port.
func dialTCP(t *testing.T, p *Plane) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// check sends a connectivity check as a frame.
func check(t *testing.T, c net.Conn, ufrag, pwd string) {
	t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":peer"),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: make([]byte, 8)},
		stun.RawAttribute{Type: stun.AttrPriority, Value: make([]byte, 4)},
		stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m.Raw))), m.Raw...)); err != nil {
		t.Fatal(err)
	}
}

// answer reads a frame, which must be a good answer.
func answer(t *testing.T, c net.Conn) {
	t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	m := &stun.Message{Raw: make([]byte, binary.BigEndian.Uint16(head[:]))}
	if _, err := io.ReadFull(c, m.Raw); err != nil {
		t.Fatal(err)
	}
	var mapped stun.XORMappedAddress
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	if err := mapped.GetFrom(m); err != nil || mapped.String() != c.LocalAddr().String() || m.Type != stun.BindingSuccess {
		t.Fatalf("%v, %v to %v", m, err, c.LocalAddr())
	}
}

// ended holds that the plane has closed a connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection is open: %v", err)
	}
}

// Wherever the kernel puts a connection, it gets to the shard of its session,
// and ends with that.
func TestTCPFindsItsShard(t *testing.T) {
	const shards = 3
	tree := newTree(t, fmt.Sprint("dataplane/shards=", shards))
	events := make(chan msg.Event, 64)
	p := start(t, tree, func(ev msg.Event) { events <- ev })
	var conns []net.Conn
	for shard := range shards {
		id := msg.NewSessionID(shard, 1)
		ufrag := string(rune('A'+shard)) + "session"
		p.Send(shard, msg.AddSession{ID: id, Ufrag: ufrag, Pwd: tcpPwd})
		for range 6 { // of a session's eight paths
			c := dialTCP(t, p)
			check(t, c, ufrag, tcpPwd)
			answer(t, c)
			check(t, c, ufrag, tcpPwd)
			answer(t, c)
			conns = append(conns, c)
		}
		selected, ok := (<-events).(msg.PairSelected)
		if !ok || selected.ID != id || !selected.Path.Remote.Stream() || selected.Path.Remote.AddrPort().String() != conns[6*shard].LocalAddr().String() {
			t.Errorf("%+v", selected)
		}
	}
	await(t, "all are counted", func() bool { return figure(t, tree, "tcp_connections") == "18" })
	for i, st := range p.Inspect() {
		if st.Checks != 12 || st.Misplaced != 0 {
			t.Errorf("shard %d has %d checks, %d misplaced", i, st.Checks, st.Misplaced)
		}
	}
	for shard := range shards {
		p.Send(shard, msg.RemoveSession{ID: msg.NewSessionID(shard, 1)})
	}
	for _, c := range conns {
		ended(t, c)
	}
	await(t, "none is left", func() bool { return figure(t, tree, "tcp_connections") == "0" })
}

// A connection gets to the shard that its session moved to, which only the one
// named by the ufrag knows, whatever came with its first frame.
func TestTCPFollowsItsSession(t *testing.T) {
	tree := newTree(t, "dataplane/shards=3")
	p := start(t, tree, ignore)
	p.Send(1, msg.ForwardChecks{Ufrag: "Bsession", Shard: 2})
	p.Send(2, msg.AddSession{ID: msg.NewSessionID(2, 1), Ufrag: "Bsession", Pwd: tcpPwd})
	for range 8 { // of which some land at each shard
		c := dialTCP(t, p)
		check(t, c, "Bsession", tcpPwd)
		io.WriteString(c, strings.Repeat("\x00\x00", wire.MaxFrame)) // null packets
		answer(t, c)
		check(t, c, "Bsession", tcpPwd)
		answer(t, c)
	}
	if st := p.Inspect()[2]; st.Checks != 16 || st.Misplaced != 0 {
		t.Errorf("%d checks, %d misplaced", st.Checks, st.Misplaced)
	}
}

// Connections that show no session end, and are counted by why.
func TestTCPRefusals(t *testing.T) {
	tree := newTree(t, "dataplane/shards=2", "dataplane/tcp_setup_ms=300", "limits/tcp_pending_connections=8")
	p := start(t, tree, ignore)
	p.Send(1, msg.AddSession{ID: msg.NewSessionID(1, 1), Ufrag: "Bsession", Pwd: tcpPwd})
	silent, wrong := dialTCP(t, p), dialTCP(t, p)
	check(t, wrong, "Bsession", "another password, as long")
	http := dialTCP(t, p)
	io.WriteString(http, "GET / HTTP/1.1\r\n\r\n")
	dtls := dialTCP(t, p)
	dtls.Write([]byte{0, 3, 22, 0xfe, 0xfd})
	for _, c := range []net.Conn{http, dtls, silent, wrong} {
		ended(t, c)
	}
	for range 20 {
		// Refused so soon that connect(2) may report it already.
		c, err := net.Dial("tcp", http.RemoteAddr().String())
		if err == nil {
			defer c.Close()
		} else if !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
	}
	await(t, "all are counted", func() bool {
		return figure(t, tree, "tcp_connections") == "0" && p.gate.Counts().Refused == [...]uint64{1: 12, 3: 10, 4: 1, 5: 1, 6: 0}
	})
	if n := p.gate.Counts().Accepted; n != 12 {
		t.Errorf("%d accepted", n)
	}
}

func TestTCPOff(t *testing.T) {
	tree := newTree(t, "dataplane/shards=1", "dataplane/tcp=0")
	p := start(t, tree, ignore)
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.Port())); err == nil {
		c.Close()
		t.Error("the port takes connections")
	}
	sendTo(t, p)
	await(t, "UDP is served", func() bool { return unknown(p) == 1 })
}

// figure reads a metric.
func figure(t *testing.T, tree *attr.Tree, path string) string {
	t.Helper()
	value, err := tree.Get(path)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
