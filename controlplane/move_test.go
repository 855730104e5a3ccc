package controlplane_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"

	"sluice/perf/client"
)

// mover is a publisher or viewer whose every datagram the test sees, over a
// socket of its own that it can change.
type mover struct {
	*rig
	conn  *client.Conn
	batch client.Batch
	early []client.Datagram
	got   map[uint32]int // numbers of the packets that came, and how often
	seqs  map[uint32]uint16
	ssrc  uint32 // of what comes
	next  uint32 // number of the next packet to send
}

// moverSSRCs are a publisher's.
var moverSSRCs = client.SSRCs{Audio: 11, Video: 12, RTX: 13}

func (r *rig) mover(path string, o client.Offer) *mover {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	conn, err := client.Dial(ctx, http.DefaultClient, r.url+path, o)
	must(r.T, err)
	m := &mover{rig: r, conn: conn, early: conn.Early, got: map[uint32]int{}, seqs: map[uint32]uint16{}}
	must(r.T, conn.GrowBuffer())
	r.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn.Close(ctx)
	})
	return m
}

// send sends one packet: a keyframe of its own that holds its number.
func (m *mover) send() {
	m.Helper()
	h := rtp.Header{Version: 2, PayloadType: client.VideoPT, SSRC: moverSSRCs.Video, SequenceNumber: uint16(m.next), Timestamp: m.next * 1800, Marker: true}
	packet := append([]byte("\x10\x00\x00\x00\x9d\x01\x2a\x00\x01\x00\x01"), binary.BigEndian.AppendUint32(nil, m.next)...)
	header, err := h.Marshal()
	must(m.T, err)
	protected, err := m.conn.Out.EncryptRTP(nil, append(header, packet...), &h)
	must(m.T, err)
	must(m.T, m.conn.Send(protected))
	m.next++
}

// read takes what waits at the socket, for at most a moment.
func (m *mover) read() {
	m.Helper()
	unix.Poll([]unix.PollFd{{Fd: int32(m.conn.FD()), Events: unix.POLLIN}}, 2)
	datagrams, err := m.conn.Recv(&m.batch)
	must(m.T, err)
	for _, d := range append(m.early, datagrams...) {
		switch {
		case client.IsSTUN(d.Data):
			must(m.T, m.conn.HandleSTUN(d.Data))
		case client.IsDTLS(d.Data) || client.IsRTCP(d.Data):
		default:
			m.take(d.Data)
		}
	}
	m.early = nil
}

func (m *mover) take(b []byte) {
	var h rtp.Header
	plain, err := m.conn.In.DecryptRTP(nil, b, &h)
	must(m.T, err)
	n, err := h.Unmarshal(plain)
	must(m.T, err)
	payload := plain[n:]
	if h.PayloadType == client.RTXPT { // RFC 4588 section 4
		h.SequenceNumber, payload = binary.BigEndian.Uint16(payload), payload[2:]
	} else {
		m.ssrc = h.SSRC
	}
	number := binary.BigEndian.Uint32(payload[len(payload)-4:])
	m.got[number]++
	m.seqs[number] = h.SequenceNumber
}

// report sends a receiver report, and asks for packets that did not come.
func (m *mover) report(missing ...uint32) {
	m.Helper()
	packets := []rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}}
	if len(missing) > 0 {
		first := slices.Min(slices.Collect(keys(m.got)))
		nack := &rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: m.ssrc}
		for _, number := range missing {
			nack.Nacks = append(nack.Nacks, rtcp.NackPair{PacketID: m.seqs[first] + uint16(number-first)})
		}
		packets = append(packets, nack)
	}
	plain, err := rtcp.Marshal(packets)
	must(m.T, err)
	protected, err := m.conn.Out.EncryptRTCP(nil, plain, nil)
	must(m.T, err)
	must(m.T, m.conn.Send(protected))
}

func keys(got map[uint32]int) func(func(uint32) bool) {
	return func(yield func(uint32) bool) {
		for n := range got {
			if !yield(n) {
				return
			}
		}
	}
}

// missing returns the numbers from low up to high that did not come exactly once.
func (m *mover) missing(low, high uint32) (numbers []uint32) {
	for n := low; n < high; n++ {
		if m.got[n] != 1 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// complete waits until everything from a number on that the publisher sent is
// there, once each.
func (m *mover) complete(from uint32, publisher *mover) {
	m.Helper()
	m.eventually(func() string {
		m.read()
		if lost := m.missing(from, publisher.next); len(lost) > 0 {
			return fmt.Sprintf("of the packets %d to %d these did not come once: %v", from, publisher.next-1, lost)
		}
		return ""
	})
}

// check sends checks until one is answered.
func (m *mover) check() {
	m.Helper()
	m.eventually(func() string {
		must(m.T, m.conn.Check())
		if m.read(); !m.conn.Answered() {
			return "no check is answered"
		}
		return ""
	})
}

// stream connects a publisher and a viewer, and lets some media flow.
func (r *rig) stream() (publisher, viewer *mover) {
	r.Helper()
	publisher = r.mover("/whip/live", client.Offer{Publish: &moverSSRCs})
	viewer = r.mover("/whep/live", client.Offer{})
	r.begins(publisher, viewer)
	return publisher, viewer
}

// begins sends until the viewer gets some of it.
func (r *rig) begins(publisher, viewer *mover) {
	r.Helper()
	r.eventually(func() string {
		publisher.send()
		if viewer.read(); len(viewer.got) == 0 {
			return "the viewer gets nothing"
		}
		return ""
	})
}

// flow lets n packets flow.
func (r *rig) flow(n int, publisher, viewer *mover) {
	for range n {
		publisher.send()
		publisher.read()
		viewer.read()
	}
}

func (m *mover) first() uint32 { return slices.Min(slices.Collect(keys(m.got))) }

// Both ends restart ICE while media flows, by turns and more than once: the
// session and its keys stay, and not one packet is lost or comes twice.
func TestICERestartInMidStream(t *testing.T) {
	r := start(t)
	publisher, viewer := r.stream()
	for range 3 {
		for _, m := range []*mover{viewer, publisher} {
			r.flow(20, publisher, viewer)
			must(t, m.conn.Restart(t.Context()))
			r.flow(5, publisher, viewer) // with new credentials that nobody used yet
			m.check()
		}
	}
	r.flow(20, publisher, viewer)
	viewer.complete(viewer.first(), publisher)
	r.reaches("ice_restarts", 6)
	r.reaches("keying/ended_handshakes/keyed", 2)
	if n := r.metric("path_changes"); n != 0 {
		t.Errorf("media moved %d times, and nobody has moved", n)
	}
}

var iceLine = regexp.MustCompile(`(?m)^a=(ice-ufrag|ice-pwd|candidate):[^\r\n]+\r\n`)

// restart restarts ICE as a browser's library does: with what a restarting offer
// says, and the old answer with the new credentials in it.
func (p *peer) restart() {
	p.Helper()
	connected := make(chan struct{})
	var once sync.Once
	gathered := webrtc.GatheringCompletePromise(p.pc)
	offer, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	must(p.T, err)
	must(p.T, p.pc.SetLocalDescription(offer))
	<-gathered
	p.pc.OnICEConnectionStateChange(func(state webrtc.ICEConnectionState) {
		if state == webrtc.ICEConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	section := p.pc.LocalDescription().SDP
	section = section[strings.Index(section, "m="):]
	if next := strings.Index(section[1:], "m="); next > 0 {
		section = section[:next+1]
	}
	fragment := "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n" + strings.Join(iceLine.FindAllString(section, -1), "")
	req, err := http.NewRequest("PATCH", p.session, strings.NewReader(fragment))
	must(p.T, err)
	req.Header.Set("Content-Type", "application/trickle-ice-sdpfrag")
	req.Header.Set("If-Match", "*")
	resp, err := http.DefaultClient.Do(req)
	must(p.T, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(p.T, err)
	if resp.StatusCode != http.StatusOK {
		p.Fatalf("PATCH: status %d, %s", resp.StatusCode, body)
	}
	for _, name := range []string{"a=ice-ufrag:", "a=ice-pwd:"} {
		line := regexp.MustCompile(name + `[^\r\n]+`)
		p.answer = line.ReplaceAllLiteralString(p.answer, string(line.Find(body)))
	}
	must(p.T, p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: p.answer}))
	p.wait(connected, "connection after an ICE restart")
}

// An independent stack restarts ICE: the connection is the same for DTLS and SRTP.
func TestPionRestartsICE(t *testing.T) {
	r := start(t)
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	feed := publisher.video()
	feed.run(5, viewer)
	for _, p := range []*peer{viewer.peer, publisher.peer, viewer.peer} {
		viewer.gets(videoKind, feed.last()) // pion sends nothing while it restarts
		p.restart()
		feed.run(5, viewer)
	}
	viewer.same(videoKind, feed.sent)
	r.reaches("ice_restarts", 3)
	r.reaches("keying/ended_handshakes/keyed", 2)
}

// A viewer changes networks without a word: from its first check and report on
// the new one media goes there, and what went to the old one it can ask for.
func TestViewerMoves(t *testing.T) {
	r := start(t)
	publisher, viewer := r.stream()
	for move := range 3 {
		r.flow(20, publisher, viewer)
		must(t, viewer.conn.Rebind())
		for range 10 {
			publisher.send() // to nobody: the old socket is closed
		}
		viewer.check()
		viewer.report()
		r.reaches("path_changes", move+1)
		from := publisher.next // nothing is lost from here on
		r.flow(20, publisher, viewer)
		viewer.complete(from, publisher)
	}
	r.eventually(func() string {
		lost := viewer.missing(viewer.first(), publisher.next)
		lost = slices.DeleteFunc(lost, func(n uint32) bool { return viewer.got[n] > 0 }) // asked for twice
		if len(lost) == 0 {
			return ""
		}
		viewer.report(lost...)
		viewer.read()
		return fmt.Sprintf("these did not come: %v", lost)
	})
	r.reaches("keying/ended_handshakes/keyed", 2)
	r.reaches("sessions", 2)
}

// … and one that restarts ICE as well gets media with its first check, before it
// has reported anything.
func TestViewerMovesByRestart(t *testing.T) {
	r := start(t)
	publisher, viewer := r.stream()
	must(t, viewer.conn.Rebind())
	must(t, viewer.conn.Restart(t.Context()))
	viewer.check()
	from := publisher.next
	r.flow(20, publisher, viewer)
	viewer.complete(from, publisher)
	r.reaches("path_changes", 1)
}

// A publisher changes networks: what it sends on the new one after its first
// check is the same session's, and viewers miss nothing.
func TestPublisherMoves(t *testing.T) {
	r := start(t)
	publisher, viewer := r.stream()
	for range 3 {
		r.flow(20, publisher, viewer)
		must(t, publisher.conn.Rebind())
		publisher.check()
		r.flow(20, publisher, viewer)
	}
	viewer.complete(viewer.first(), publisher)
	r.reaches("path_changes", 3)
	r.reaches("sessions", 2)
	if n := r.metric("keyframe_out_requests"); n > 1 {
		t.Errorf("%d keyframe requests: somebody thought that the stream began anew", n)
	}
}

// A peer that goes without a word has its session for 30 s more, and not one
// packet after that (RFC 7675 section 5.1); one that goes on checking stays.
func TestConsentExpires(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute, as consent does")
	}
	r := start(t)
	publisher, viewer := r.stream()
	silent := r.mover("/whep/live", client.Offer{})
	silent.check()
	last := time.Now()
	for r.metric("sessions") == 3 {
		if time.Since(last) > 2*patience {
			t.Fatal("a session without consent goes on")
		}
		must(t, publisher.conn.Check())
		must(t, viewer.conn.Check())
		for range 20 {
			r.flow(10, publisher, viewer)
			silent.read()
		}
	}
	if after := time.Since(last); after < 28*time.Second {
		t.Errorf("consent expired after %v", after)
	}
	silent.read() // what was on its way
	clear(silent.got)
	r.flow(50, publisher, viewer)
	if silent.read(); len(silent.got) > 0 {
		t.Errorf("%d packets without consent", len(silent.got))
	}
	viewer.complete(viewer.first(), publisher)
	r.reaches("expired_sessions", 1)
}
