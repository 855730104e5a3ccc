package load

import (
	"encoding/binary"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// historySize is how many video packets a publisher can send again: about 2 s of them.
const historySize = 512

// history keeps the last packets of a stream in the clear.
type history [historySize][]byte

// room returns the place for a packet, in that of one too old.
func (h *history) room(seq uint16, size int) []byte {
	slot := &h[seq%historySize]
	if len(*slot) != size {
		*slot = make([]byte, size)
	}
	return *slot
}

// get returns the header and the payload of a packet; false when it is no longer there.
func (h *history) get(seq uint16) (header rtp.Header, payload []byte, ok bool) {
	packet := h[seq%historySize]
	if packet == nil {
		return header, nil, false
	}
	n, err := header.Unmarshal(packet)
	return header, packet[n:], err == nil && header.SequenceNumber == seq
}

// want notes what a NACK asks for.
func (p *publisher) want(nack *rtcp.TransportLayerNack) {
	if nack.MediaSSRC != p.streams[video].header.SSRC || !p.conn.Answer.RTX {
		return
	}
	for _, pair := range nack.Nacks {
		for _, seq := range pair.PacketList() {
			p.pacer.want(p, seq)
		}
	}
}

// retransmit sends a packet again on the RTX stream, its sequence number in front of its payload (RFC 4588 section 4).
func (p *publisher) retransmit(seq uint16) error {
	original, payload, ok := p.history.get(seq)
	if !ok {
		return nil
	}
	packet, err := p.rtx.retransmission(original, payload)
	if err != nil {
		return err
	}
	protected, err := p.protect(p.rtx, nil, packet)
	if err != nil {
		return err
	}
	return p.conn.SendBatch([][]byte{protected})
}

func (s *stream) retransmission(original rtp.Header, payload []byte) ([]byte, error) {
	s.header.SequenceNumber++
	s.header.Timestamp, s.header.Marker = original.Timestamp, original.Marker
	if err := s.extensions(); err != nil {
		return nil, err
	}
	packet := make([]byte, s.header.MarshalSize(), s.header.MarshalSize()+2+len(payload))
	if _, err := s.header.MarshalTo(packet); err != nil {
		return nil, err
	}
	packet = binary.BigEndian.AppendUint16(packet, original.SequenceNumber)
	return append(packet, payload...), nil
}
