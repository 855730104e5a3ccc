package client

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var localhost = netip.MustParseAddr("127.0.0.1")

// pair is two connected sockets on loopback.
func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	var conns [2]*Conn
	for i := range conns {
		fd, bound, err := open(localhost)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		conns[i] = &Conn{fd: fd, Local: bound}
	}
	for i, c := range conns {
		c.Remote = conns[1-i].Local
		if err := unix.Connect(c.fd, sockaddr(c.Remote)); err != nil {
			t.Fatal(err)
		}
	}
	return conns[0], conns[1]
}

// receive reads until n datagrams are there.
func receive(t *testing.T, c *Conn, n int) (got [][]byte) {
	t.Helper()
	var b Batch
	await(t, "datagrams", func() bool {
		list, err := c.Recv(&b)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			got = append(got, append([]byte(nil), d.Data...))
			if age := time.Since(time.Unix(0, d.At)); age < 0 || age > time.Minute {
				t.Fatalf("receive stamp is %v old", age)
			}
		}
		return len(got) >= n
	})
	return got
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func mustDrops(t *testing.T, c *Conn) int {
	t.Helper()
	n, err := c.Drops()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestSendTrainArrivesAsPackets(t *testing.T) {
	a, b := pair(t)
	var sent [][]byte
	for i := range 10 {
		sent = append(sent, make([]byte, 500))
		sent[i][0] = byte(i)
	}
	sent[9] = sent[9][:100]
	if err := a.SendTrain(sent); err != nil {
		t.Fatal(err)
	}
	for i, p := range receive(t, b, len(sent)) {
		if len(p) != len(sent[i]) || p[0] != byte(i) {
			t.Errorf("packet %d: %d bytes of number %d", i, len(p), p[0])
		}
	}
}

func TestSendBatchArrivesInOrder(t *testing.T) {
	a, b := pair(t)
	var sent [][]byte
	for i := range 3*batchSize + 5 {
		sent = append(sent, []byte{byte(i), 1, 2})
	}
	if err := a.SendBatch(sent); err != nil {
		t.Fatal(err)
	}
	for i, p := range receive(t, b, len(sent)) {
		if string(p) != string(sent[i]) {
			t.Fatalf("datagram %d is %v, want %v", i, p, sent[i])
		}
	}
}

func TestRecvOfAnEmptySocketReturnsNothing(t *testing.T) {
	a, _ := pair(t)
	var b Batch
	if list, err := a.Recv(&b); err != nil || len(list) != 0 {
		t.Fatalf("Recv = %v, %v", list, err)
	}
}

func TestFilterDropsRTPOnly(t *testing.T) {
	for _, c := range []struct {
		name string
		head []byte
		pass bool
	}{
		{"STUN request", []byte{0, 1}, true},
		{"STUN success", []byte{1, 1}, true},
		{"DTLS alert", []byte{21, 0xfe}, true},
		{"DTLS, second byte like RTP", []byte{22, 96}, true},
		{"TURN channel", []byte{64, 0}, true},
		{"first byte 127", []byte{127, 96}, true},
		{"first byte 192", []byte{192, 96}, true},
		{"first byte 255", []byte{255, 255}, true},
		{"RTP 96", []byte{128, 96}, false},
		{"RTP 96 with marker bit", []byte{128, 96 | 128}, false},
		{"RTP 111 with extension", []byte{144, 111}, false},
		{"RTP 0, first byte 191", []byte{191, 0}, false},
		{"RTP 63 with marker bit", []byte{128, 191}, false},
		{"below RTCP", []byte{128, 191}, false},
		{"RTCP 192", []byte{128, 192}, true},
		{"RTCP SR", []byte{128, 200}, true},
		{"RTCP 223", []byte{129, 223}, true},
		{"above RTCP", []byte{128, 224}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := pair(t)
			if err := b.FilterRTP(); err != nil {
				t.Fatal(err)
			}
			packet := append(c.head, make([]byte, 30)...)
			sentinel := []byte{0, 1, 's'}
			if err := a.SendBatch([][]byte{packet, sentinel}); err != nil {
				t.Fatal(err)
			}
			want := 1
			if c.pass {
				want = 2
			}
			if got := receive(t, b, want); len(got) != want || string(got[want-1]) != string(sentinel) {
				t.Fatalf("received %v", got)
			}
			if n := mustDrops(t, b); n != 2-want {
				t.Fatalf("%d drops, want %d", n, 2-want)
			}
		})
	}
}

// segmented sends one UDP_SEGMENT train.
func segmented(t *testing.T, c *Conn, train []byte, size int) {
	t.Helper()
	control := make([]byte, unix.CmsgSpace(2))
	binary.NativeEndian.PutUint64(control, uint64(unix.CmsgLen(2)))
	binary.NativeEndian.PutUint32(control[8:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(control[12:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(control[16:], uint16(size))
	if _, err := unix.SendmsgN(c.fd, train, control, nil, 0); err != nil {
		t.Fatalf("sendmsg with UDP_SEGMENT: %v", err)
	}
}

// A server that uses UDP_SEGMENT must be counted by packets, not by trains.
func TestFilterCountsThePacketsOfASegmentTrain(t *testing.T) {
	const size, full, rest = 1176, 8, 500
	a, b := pair(t)
	if err := b.FilterRTP(); err != nil {
		t.Fatal(err)
	}
	train := make([]byte, full*size+rest)
	for i := range full + 1 {
		train[i*size], train[i*size+1] = 128, 96
	}
	train[3*size+1] = 200 // RTCP in the middle of the train
	segmented(t, a, train, size)
	await(t, "the drop counter", func() bool { return mustDrops(t, b) >= full })
	if got := receive(t, b, 1); len(got) != 1 || len(got[0]) != size || got[0][1] != 200 {
		t.Fatalf("received %d datagrams, want the RTCP one alone", len(got))
	}
	if n := mustDrops(t, b); n != full {
		t.Fatalf("%d drops, want %d", n, full)
	}
}

func TestASegmentTrainIsReadAsSinglePackets(t *testing.T) {
	const size, n = 1100, 5
	a, b := pair(t)
	segmented(t, a, make([]byte, n*size), size)
	for i, p := range receive(t, b, n) {
		if len(p) != size {
			t.Fatalf("datagram %d has %d bytes, want %d", i, len(p), size)
		}
	}
}

func TestGrowBuffer(t *testing.T) {
	a, _ := pair(t)
	before, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.GrowBuffer(); err != nil {
		t.Fatal(err)
	}
	if after, err := unix.GetsockoptInt(a.fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err != nil || after < before {
		t.Fatalf("buffer went from %d to %d, %v", before, after, err)
	}
}
