package load

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"

	"sluice/perf/client"
)

func TestRetransmission(t *testing.T) {
	twcc := new(uint16)
	original := newStream(video, 1, client.VideoPT, 90000, 200, "1")
	rtx := newStream(video, 2, client.RTXPT, 90000, 0, "1")
	original.twcc, rtx.twcc = twcc, twcc
	var h history
	packet := h.room(original.header.SequenceNumber+1, 200)
	payload, err := original.packet(packet, 123, true)
	if err != nil {
		t.Fatal(err)
	}
	vp8Payload(payload, 1, true, true, marker{video, 9, 10})
	seq := original.header.SequenceNumber

	header, stored, ok := h.get(seq)
	if !ok || !bytes.Equal(stored, payload) {
		t.Fatalf("history has %x, %v", stored, ok)
	}
	again, err := rtx.retransmission(header, stored)
	if err != nil {
		t.Fatal(err)
	}
	var got rtp.Packet
	if err := got.Unmarshal(again); err != nil {
		t.Fatal(err)
	}
	if got.SSRC != 2 || got.PayloadType != client.RTXPT || got.Timestamp != header.Timestamp || !got.Marker {
		t.Errorf("header is %v", got.Header)
	}
	if want := append([]byte{byte(seq >> 8), byte(seq)}, payload...); !bytes.Equal(got.Payload, want) {
		t.Errorf("payload starts with %x, want %x", got.Payload[:4], want[:4])
	}
	if n := got.GetExtension(client.TWCCExtension); !bytes.Equal(n, []byte{0, 1}) {
		t.Errorf("transport-wide sequence number is %x, want 1: the original took 0", n)
	}
	if mid := got.GetExtension(client.MIDExtension); string(mid) != "1" {
		t.Errorf("mid is %q", mid)
	}
}

func TestHistoryForgets(t *testing.T) {
	s := newStream(video, 1, client.VideoPT, 90000, 200, "")
	var h history
	if _, _, ok := h.get(7); ok {
		t.Fatal("an empty history has packets")
	}
	if _, err := s.packet(h.room(s.header.SequenceNumber+1, 200), 0, false); err != nil {
		t.Fatal(err)
	}
	seq := s.header.SequenceNumber
	if _, _, ok := h.get(seq); !ok {
		t.Fatal("a packet is forgotten at once")
	}
	if _, _, ok := h.get(seq - historySize); ok {
		t.Fatal("got another packet than the one asked for")
	}
}
