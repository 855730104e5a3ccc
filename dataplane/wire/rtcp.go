package wire

import (
	"encoding/binary"

	"sluice/dataplane/clock"
)

// RTCP packet types (RFC 3550 section 12.1, RFC 4585 section 6.1, RFC 3611 section 2).
const (
	RTCPSenderReport      = 200
	RTCPReceiverReport    = 201
	RTCPDescription       = 202
	RTCPGoodbye           = 203
	RTCPApplication       = 204
	RTCPTransportFeedback = 205
	RTCPPayloadFeedback   = 206
	RTCPExtendedReport    = 207
)

// Feedback message types, the FMT field. The first two belong to
// RTCPTransportFeedback (RFC 4585 section 6.2.1,
// draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1), the others
// to RTCPPayloadFeedback (RFC 4585 section 6.3, RFC 5104 section 4.3.1).
const (
	FormatNACK        = 1
	FormatTransportCC = 15
	FormatPLI         = 1
	FormatFIR         = 4
	FormatApplication = 15
)

// Fixed sizes in bytes.
const (
	rtcpHeaderSize   = 4
	feedbackSize     = 8  // sender and media SSRC (RFC 4585 section 6.1)
	senderReportSize = 24 // SSRC and sender info (RFC 3550 section 6.4.1)
	reportBlockSize  = 24
	firEntrySize     = 8
	maxReportBlocks  = 31 // the count has five bits
	maxRTCPText      = 255
)

// Compound is what is left to read of an RTCP datagram: one packet after the
// other (RFC 3550 section 6.1), or any single packet (RFC 5506).
type Compound []byte

// Next takes the first packet off the compound. It returns false at the end,
// and at a packet whose version, length or padding cannot be right: then the
// compound keeps the bytes that were not read, and everything before stays good.
//
//hot:path
func (c *Compound) Next() (p RTCP, ok bool) {
	b := []byte(*c)
	if len(b) < rtcpHeaderSize || b[0]>>6 != 2 {
		return RTCP{}, false
	}
	size := rtcpHeaderSize + 4*int(binary.BigEndian.Uint16(b[2:]))
	if size > len(b) {
		return RTCP{}, false
	}
	end := size
	if b[0]&0x20 != 0 {
		padding := int(b[size-1])
		if padding == 0 || padding > size-rtcpHeaderSize {
			return RTCP{}, false
		}
		end -= padding
	}
	*c = b[size:]
	return RTCP{Type: b[1], Count: b[0] & 0x1f, Body: b[rtcpHeaderSize:end]}, true
}

// RTCP is one packet of a compound. It shares the memory that it was read from.
type RTCP struct {
	Type  uint8
	Count uint8  // report count, source count or FMT, as the type has it
	Body  []byte // what follows the first four bytes, without padding
}

// Sender returns the SSRC of who sent the packet: of a report or of feedback.
//
//hot:path
func (p RTCP) Sender() (ssrc uint32, ok bool) {
	switch p.Type {
	case RTCPSenderReport, RTCPReceiverReport, RTCPTransportFeedback, RTCPPayloadFeedback:
		if len(p.Body) >= 4 {
			return binary.BigEndian.Uint32(p.Body), true
		}
	}
	return 0, false
}

// SenderReport is what a sender says of its stream (RFC 3550 section 6.4.1).
type SenderReport struct {
	SSRC    uint32
	NTP     clock.NTP // when the report was sent, by the sender's clock
	RTP     uint32    // the same instant in units of the RTP clock
	Packets uint32    // RTP packets sent so far
	Octets  uint32    // payload bytes sent so far, without headers and padding
}

// SenderReport reads a sender report; false when it is none or when its report
// count does not fit its length.
//
//hot:path
func (p RTCP) SenderReport() (sr SenderReport, ok bool) {
	b := p.Body
	if p.Type != RTCPSenderReport || len(b) < senderReportSize+reportBlockSize*int(p.Count) {
		return SenderReport{}, false
	}
	return SenderReport{
		SSRC:    binary.BigEndian.Uint32(b),
		NTP:     clock.NTP(binary.BigEndian.Uint64(b[4:])),
		RTP:     binary.BigEndian.Uint32(b[12:]),
		Packets: binary.BigEndian.Uint32(b[16:]),
		Octets:  binary.BigEndian.Uint32(b[20:]),
	}, true
}

// ReportBlock is what a receiver says of one stream (RFC 3550 section 6.4.1).
type ReportBlock struct {
	SSRC     uint32 // the stream
	Fraction uint8  // lost since the last report, in 1/256
	Lost     int32  // lost in all, 24 bits; below zero when duplicates came
	Highest  uint32 // highest sequence number, cycles in the upper 16 bits
	Jitter   uint32 // in units of the RTP clock
	LSR      uint32 // clock.NTP.Mid of the last sender report, 0 for none
	DLSR     uint32 // time since it came, in 1/65536 s
}

// ReportBlocks is the list of report blocks of a report.
type ReportBlocks []byte

// ReportBlocks returns the blocks of a sender or receiver report; none when the
// packet is neither or when its count does not fit its length.
//
//hot:path
func (p RTCP) ReportBlocks() ReportBlocks {
	var start int
	switch p.Type {
	case RTCPSenderReport:
		start = senderReportSize
	case RTCPReceiverReport:
		start = 4
	default:
		return nil
	}
	end := start + reportBlockSize*int(p.Count)
	if end > len(p.Body) {
		return nil
	}
	return ReportBlocks(p.Body[start:end])
}

// Len returns the number of blocks.
func (r ReportBlocks) Len() int { return len(r) / reportBlockSize }

// At returns block i, from 0 to Len()-1.
//
//hot:path
func (r ReportBlocks) At(i int) ReportBlock {
	b := r[i*reportBlockSize : (i+1)*reportBlockSize]
	lost := binary.BigEndian.Uint32(b[4:])
	return ReportBlock{
		SSRC:     binary.BigEndian.Uint32(b),
		Fraction: uint8(lost >> 24),
		Lost:     int32(lost<<8) >> 8,
		Highest:  binary.BigEndian.Uint32(b[8:]),
		Jitter:   binary.BigEndian.Uint32(b[12:]),
		LSR:      binary.BigEndian.Uint32(b[16:]),
		DLSR:     binary.BigEndian.Uint32(b[20:]),
	}
}

// SSRCs is a list of sources.
type SSRCs []byte

// Goodbye returns the sources that leave (RFC 3550 section 6.6); none when the
// packet is no BYE or when its count does not fit its length.
//
//hot:path
func (p RTCP) Goodbye() SSRCs {
	if p.Type != RTCPGoodbye || 4*int(p.Count) > len(p.Body) {
		return nil
	}
	return SSRCs(p.Body[:4*int(p.Count)])
}

// Len returns the number of sources.
func (s SSRCs) Len() int { return len(s) / 4 }

// At returns source i, from 0 to Len()-1.
//
//hot:path
func (s SSRCs) At(i int) uint32 { return binary.BigEndian.Uint32(s[4*i:]) }

// feedback returns the media source and the feedback control information of a
// feedback packet of the given type and format (RFC 4585 section 6.1).
func (p RTCP) feedback(kind, format uint8) (media uint32, fci []byte, ok bool) {
	if p.Type != kind || p.Count != format || len(p.Body) < feedbackSize {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(p.Body[4:]), p.Body[feedbackSize:], true
}

// NACK reads a generic NACK: the stream and what was lost of it. It is false
// for other packets and for one without or with half an entry.
//
//hot:path
func (p RTCP) NACK() (media uint32, lost Lost, ok bool) {
	media, fci, ok := p.feedback(RTCPTransportFeedback, FormatNACK)
	if !ok || len(fci) == 0 || len(fci)%4 != 0 {
		return 0, Lost{}, false
	}
	return media, Lost{pairs: fci}, true
}

// Lost walks over the sequence numbers that a NACK asks for, 17 at most for
// each four bytes (RFC 4585 section 6.2.1).
type Lost struct {
	pairs []byte
	seq   uint16 // the PID of the pair being walked
	bits  uint32 // bit i for seq+i, still to be returned
}

// Next returns the next sequence number in the order of the packet.
//
//hot:path
func (l *Lost) Next() (seq uint16, ok bool) {
	if l.bits == 0 {
		if len(l.pairs) < 4 {
			return 0, false
		}
		l.seq = binary.BigEndian.Uint16(l.pairs)
		l.bits = uint32(binary.BigEndian.Uint16(l.pairs[2:]))<<1 | 1
		l.pairs = l.pairs[4:]
	}
	for l.bits&1 == 0 {
		l.seq, l.bits = l.seq+1, l.bits>>1
	}
	seq = l.seq
	l.seq, l.bits = l.seq+1, l.bits>>1
	return seq, true
}

// PLI reads a picture loss indication (RFC 4585 section 6.3.1).
//
//hot:path
func (p RTCP) PLI() (media uint32, ok bool) {
	media, _, ok = p.feedback(RTCPPayloadFeedback, FormatPLI)
	return media, ok
}

// FIREntry asks one source for a keyframe. An entry with the sequence number of
// the one before is a repetition, not a new request (RFC 5104 section 4.3.1.1).
type FIREntry struct {
	SSRC uint32
	Seq  uint8
}

// FIREntries is the list of entries of a full intra request.
type FIREntries []byte

// FIR returns the entries of a full intra request (RFC 5104 section 4.3.1);
// none for other packets and for one that ends in half an entry.
//
//hot:path
func (p RTCP) FIR() FIREntries {
	_, fci, ok := p.feedback(RTCPPayloadFeedback, FormatFIR)
	if !ok || len(fci)%firEntrySize != 0 {
		return nil
	}
	return FIREntries(fci)
}

// Len returns the number of entries.
func (f FIREntries) Len() int { return len(f) / firEntrySize }

// At returns entry i, from 0 to Len()-1.
//
//hot:path
func (f FIREntries) At(i int) FIREntry {
	b := f[i*firEntrySize : (i+1)*firEntrySize]
	return FIREntry{SSRC: binary.BigEndian.Uint32(b), Seq: b[4]}
}

// IsREMB reports whether the packet is a receiver's estimate of the bandwidth
// (draft-alvestrand-rmcat-remb-03 section 2.2).
//
//hot:path
func (p RTCP) IsREMB() bool {
	_, fci, ok := p.feedback(RTCPPayloadFeedback, FormatApplication)
	return ok && len(fci) >= 8 && string(fci[:4]) == "REMB"
}

// IsTransportCC reports whether the packet is transport-wide feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
//
//hot:path
func (p RTCP) IsTransportCC() bool {
	_, fci, ok := p.feedback(RTCPTransportFeedback, FormatTransportCC)
	return ok && len(fci) >= 8
}

// OpenRTCP appends the first four bytes of an RTCP packet; the caller appends
// the body and ends it with CloseRTCP. This and the functions below allocate
// only where b has no room left.
func OpenRTCP(b []byte, kind, count uint8) []byte {
	return append(b, 2<<6|count&0x1f, kind, 0, 0)
}

// CloseRTCP ends the packet that OpenRTCP began at offset start: it fills it up
// with zeros to a multiple of four bytes and sets the length. The body must be
// below 256 KiB.
func CloseRTCP(b []byte, start int) []byte {
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16((len(b)-start)/4-1))
	return b
}

// AppendSenderReport appends a sender report without report blocks (RFC 3550
// section 6.4.1).
func AppendSenderReport(b []byte, sr *SenderReport) []byte {
	start := len(b)
	b = OpenRTCP(b, RTCPSenderReport, 0)
	b = binary.BigEndian.AppendUint32(b, sr.SSRC)
	b = binary.BigEndian.AppendUint64(b, uint64(sr.NTP))
	b = binary.BigEndian.AppendUint32(b, sr.RTP)
	b = binary.BigEndian.AppendUint32(b, sr.Packets)
	b = binary.BigEndian.AppendUint32(b, sr.Octets)
	return CloseRTCP(b, start)
}

// AppendReceiverReport appends a receiver report (RFC 3550 section 6.4.2), and
// another for each further 31 blocks. With no blocks it is the empty report
// that begins a compound. Lost is cut to 24 bits.
func AppendReceiverReport(b []byte, sender uint32, blocks []ReportBlock) []byte {
	for {
		n := min(len(blocks), maxReportBlocks)
		start := len(b)
		b = OpenRTCP(b, RTCPReceiverReport, uint8(n))
		b = binary.BigEndian.AppendUint32(b, sender)
		for i := range blocks[:n] {
			b = appendReportBlock(b, &blocks[i])
		}
		b = CloseRTCP(b, start)
		if blocks = blocks[n:]; len(blocks) == 0 {
			return b
		}
	}
}

func appendReportBlock(b []byte, r *ReportBlock) []byte {
	b = binary.BigEndian.AppendUint32(b, r.SSRC)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Fraction)<<24|uint32(r.Lost)&0xffffff)
	b = binary.BigEndian.AppendUint32(b, r.Highest)
	b = binary.BigEndian.AppendUint32(b, r.Jitter)
	b = binary.BigEndian.AppendUint32(b, r.LSR)
	return binary.BigEndian.AppendUint32(b, r.DLSR)
}

// AppendDescription appends a source description of one source with its CNAME
// (RFC 3550 section 6.5.1), of which the first 255 bytes count.
func AppendDescription(b []byte, ssrc uint32, cname string) []byte {
	const itemCNAME = 1
	cname = cname[:min(len(cname), maxRTCPText)]
	start := len(b)
	b = OpenRTCP(b, RTCPDescription, 1)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = append(b, itemCNAME, uint8(len(cname)))
	b = append(b, cname...)
	// The list of items ends with a zero byte, then the padding follows.
	return CloseRTCP(append(b, 0), start)
}

// AppendGoodbye appends a BYE of at most 31 sources (RFC 3550 section 6.6). The
// reason may be empty; its first 255 bytes count.
func AppendGoodbye(b []byte, reason string, ssrcs ...uint32) []byte {
	ssrcs = ssrcs[:min(len(ssrcs), maxReportBlocks)]
	reason = reason[:min(len(reason), maxRTCPText)]
	start := len(b)
	b = OpenRTCP(b, RTCPGoodbye, uint8(len(ssrcs)))
	for _, ssrc := range ssrcs {
		b = binary.BigEndian.AppendUint32(b, ssrc)
	}
	if reason != "" {
		b = append(append(b, uint8(len(reason))), reason...)
	}
	return CloseRTCP(b, start)
}

func openFeedback(b []byte, kind, format uint8, sender, media uint32) []byte {
	b = OpenRTCP(b, kind, format)
	b = binary.BigEndian.AppendUint32(b, sender)
	return binary.BigEndian.AppendUint32(b, media)
}

// AppendNACK appends a generic NACK for the sequence numbers lost, which are in
// ascending order across the wrap (RFC 4585 section 6.2.1). It appends nothing
// when lost is empty.
func AppendNACK(b []byte, sender, media uint32, lost []uint16) []byte {
	if len(lost) == 0 {
		return b
	}
	start := len(b)
	b = openFeedback(b, RTCPTransportFeedback, FormatNACK, sender, media)
	for len(lost) > 0 {
		first, following := lost[0], uint16(0)
		lost = lost[1:]
		for len(lost) > 0 && lost[0]-first <= 16 {
			following |= 1 << (lost[0] - first - 1) // of first itself, nothing
			lost = lost[1:]
		}
		b = binary.BigEndian.AppendUint16(b, first)
		b = binary.BigEndian.AppendUint16(b, following)
	}
	return CloseRTCP(b, start)
}

// AppendPLI appends a picture loss indication (RFC 4585 section 6.3.1).
func AppendPLI(b []byte, sender, media uint32) []byte {
	start := len(b)
	return CloseRTCP(openFeedback(b, RTCPPayloadFeedback, FormatPLI, sender, media), start)
}

// AppendFIR appends a full intra request to one source. A new request takes the
// next sequence number, a repetition the same (RFC 5104 section 4.3.1).
func AppendFIR(b []byte, sender, media uint32, seq uint8) []byte {
	start := len(b)
	// The media source of the header is not used and zero; the entry names it.
	b = openFeedback(b, RTCPPayloadFeedback, FormatFIR, sender, 0)
	b = binary.BigEndian.AppendUint32(b, media)
	b = append(b, seq, 0, 0, 0)
	return CloseRTCP(b, start)
}
