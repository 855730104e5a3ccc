package wire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtcp"

	"sluice/dataplane/clock"
)

// The oracle for both directions is github.com/pion/rtcp.

func randomBlocks(r *rand.Rand, n int) []ReportBlock {
	blocks := make([]ReportBlock, n)
	for i := range blocks {
		blocks[i] = ReportBlock{
			SSRC: r.Uint32(), Fraction: uint8(r.Uint32()), Lost: int32(r.Uint32()) >> 8,
			Highest: r.Uint32(), Jitter: r.Uint32(), LSR: r.Uint32(), DLSR: r.Uint32(),
		}
	}
	return blocks
}

func pionBlocks(blocks []ReportBlock) []rtcp.ReceptionReport {
	var out []rtcp.ReceptionReport
	for _, b := range blocks {
		out = append(out, rtcp.ReceptionReport{
			SSRC: b.SSRC, FractionLost: b.Fraction, TotalLost: uint32(b.Lost) & 0xffffff,
			LastSequenceNumber: b.Highest, Jitter: b.Jitter, LastSenderReport: b.LSR, Delay: b.DLSR,
		})
	}
	return out
}

func readBlocks(view ReportBlocks) []ReportBlock {
	var out []ReportBlock
	for i := range view.Len() {
		out = append(out, view.At(i))
	}
	return out
}

func readLost(l Lost) []uint16 {
	var out []uint16
	for seq, ok := l.Next(); ok; seq, ok = l.Next() {
		out = append(out, seq)
	}
	return out
}

// first reads the first packet of b and fails the test when there is none.
func first(t *testing.T, b []byte) RTCP {
	t.Helper()
	c := Compound(b)
	p, ok := c.Next()
	if !ok {
		t.Fatalf("no packet in % x", b)
	}
	return p
}

func TestRTCPSenderReport(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		want := SenderReport{SSRC: r.Uint32(), NTP: clock.NTP(r.Uint64()), RTP: r.Uint32(), Packets: r.Uint32(), Octets: r.Uint32()}

		var theirs rtcp.SenderReport
		if err := theirs.Unmarshal(AppendSenderReport(nil, &want)); err != nil {
			t.Fatal(err)
		}
		if got := (SenderReport{theirs.SSRC, clock.NTP(theirs.NTPTime), theirs.RTPTime, theirs.PacketCount, theirs.OctetCount}); got != want || len(theirs.Reports) != 0 {
			t.Fatalf("pion reads %+v, want %+v", theirs, want)
		}

		blocks := randomBlocks(r, r.IntN(32))
		theirs.Reports = pionBlocks(blocks)
		b, err := theirs.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p := first(t, b)
		if got, ok := p.SenderReport(); !ok || got != want {
			t.Fatalf("we read %+v, want %+v", got, want)
		}
		if got := readBlocks(p.ReportBlocks()); !slices.Equal(got, blocks) {
			t.Fatalf("we read blocks %+v, want %+v", got, blocks)
		}
		if ssrc, ok := p.Sender(); !ok || ssrc != want.SSRC {
			t.Fatalf("Sender() = %d, %v", ssrc, ok)
		}
	}
}

func TestRTCPReceiverReport(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for n := range 80 {
		want := randomBlocks(r, n)
		b := AppendReceiverReport(nil, 77, want)

		packets, err := rtcp.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if wantPackets := max(1, (n+30)/31); len(packets) != wantPackets {
			t.Fatalf("%d blocks in %d reports, want %d", n, len(packets), wantPackets)
		}
		var theirs []rtcp.ReceptionReport
		for _, p := range packets {
			rr := p.(*rtcp.ReceiverReport)
			if rr.SSRC != 77 {
				t.Fatalf("sender %d, want 77", rr.SSRC)
			}
			theirs = append(theirs, rr.Reports...)
		}
		if !slices.Equal(theirs, pionBlocks(want)) {
			t.Fatalf("pion reads %+v, want %+v", theirs, want)
		}

		var ours []ReportBlock
		c := Compound(b)
		for p, ok := c.Next(); ok; p, ok = c.Next() {
			ours = append(ours, readBlocks(p.ReportBlocks())...)
		}
		if !slices.Equal(ours, want) || len(c) != 0 {
			t.Fatalf("we read %+v, want %+v; %d bytes left", ours, want, len(c))
		}
	}
}

func TestRTCPNACK(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		var lost []uint16
		seq := uint16(r.Uint32())
		for range 1 + r.IntN(60) {
			lost = append(lost, seq)
			seq += uint16(1 + r.IntN(1+r.IntN(30)))
		}
		b := AppendNACK(nil, 1, 2, lost)

		var theirs rtcp.TransportLayerNack
		if err := theirs.Unmarshal(b); err != nil {
			t.Fatal(err)
		}
		if want := rtcp.NackPairsFromSequenceNumbers(lost); !slices.Equal(theirs.Nacks, want) {
			t.Fatalf("pairs %v, want %v", theirs.Nacks, want)
		}
		if theirs.SenderSSRC != 1 || theirs.MediaSSRC != 2 {
			t.Fatalf("SSRCs %d and %d, want 1 and 2", theirs.SenderSSRC, theirs.MediaSSRC)
		}

		b, err := theirs.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		media, view, ok := first(t, b).NACK()
		if got := readLost(view); !ok || media != 2 || !slices.Equal(got, lost) {
			t.Fatalf("we read %d %v %v, want 2 %v", media, got, ok, lost)
		}
	}
}

func TestRTCPNACKRepeatedSequenceNumber(t *testing.T) {
	_, view, _ := first(t, AppendNACK(nil, 1, 2, []uint16{5, 5, 6, 6, 22, 22})).NACK()
	if got, want := readLost(view), []uint16{5, 6, 22}; !slices.Equal(got, want) {
		t.Errorf("lost %v, want %v", got, want)
	}
}

func TestRTCPNACKOfNothing(t *testing.T) {
	if b := AppendNACK([]byte{1}, 1, 2, nil); len(b) != 1 {
		t.Errorf("% x appended for no sequence number", b[1:])
	}
}

func TestRTCPKeyframeRequests(t *testing.T) {
	var pli rtcp.PictureLossIndication
	b := AppendPLI(nil, 1, 2)
	if err := pli.Unmarshal(b); err != nil || pli != (rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2}) {
		t.Errorf("pion reads PLI %+v, %v", pli, err)
	}
	if media, ok := first(t, b).PLI(); !ok || media != 2 {
		t.Errorf("we read PLI %d, %v", media, ok)
	}

	var fir rtcp.FullIntraRequest
	if err := fir.Unmarshal(AppendFIR(nil, 1, 2, 200)); err != nil {
		t.Fatal(err)
	}
	if fir.SenderSSRC != 1 || fir.MediaSSRC != 0 || !slices.Equal(fir.FIR, []rtcp.FIREntry{{SSRC: 2, SequenceNumber: 200}}) {
		t.Errorf("pion reads FIR %+v", fir)
	}
	fir.FIR = append(fir.FIR, rtcp.FIREntry{SSRC: 0xfffffffe, SequenceNumber: 1})
	b, err := fir.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	entries := first(t, b).FIR()
	if entries.Len() != 2 || entries.At(0) != (FIREntry{2, 200}) || entries.At(1) != (FIREntry{0xfffffffe, 1}) {
		t.Errorf("we read FIR % x", entries)
	}
}

func TestRTCPDescription(t *testing.T) {
	for n := range 300 {
		cname := strings.Repeat("c", n)
		var theirs rtcp.SourceDescription
		if err := theirs.Unmarshal(AppendDescription(nil, 9, cname)); err != nil {
			t.Fatalf("CNAME of %d bytes: %v", n, err)
		}
		want := []rtcp.SourceDescriptionChunk{{Source: 9, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: cname[:min(n, 255)]}}}}
		if len(theirs.Chunks) != 1 || theirs.Chunks[0].Source != 9 || !slices.Equal(theirs.Chunks[0].Items, want[0].Items) {
			t.Fatalf("pion reads %+v, want %+v", theirs.Chunks, want)
		}
	}
}

func TestRTCPGoodbye(t *testing.T) {
	for n := range 300 {
		reason := strings.Repeat("r", n)
		ssrcs := []uint32{1, 0xffffffff, 3}[:n%4]
		b := AppendGoodbye(nil, reason, ssrcs...)
		var theirs rtcp.Goodbye
		if err := theirs.Unmarshal(b); err != nil {
			t.Fatalf("reason of %d bytes: %v", n, err)
		}
		if !slices.Equal(theirs.Sources, ssrcs) || theirs.Reason != reason[:min(n, 255)] {
			t.Fatalf("pion reads %+v", theirs)
		}
		view := first(t, b).Goodbye()
		var ours []uint32
		for i := range view.Len() {
			ours = append(ours, view.At(i))
		}
		if !slices.Equal(ours, ssrcs) {
			t.Fatalf("we read %v, want %v", ours, ssrcs)
		}
	}
	if b := AppendGoodbye(nil, "", make([]uint32, 40)...); first(t, b).Goodbye().Len() != 31 {
		t.Errorf("a BYE of 40 sources does not hold the first 31: % x", b[:4])
	}
}

func TestRTCPRecognised(t *testing.T) {
	remb, err := (&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 1, Bitrate: 1e6, SSRCs: []uint32{2}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if p := first(t, remb); !p.IsREMB() || p.IsTransportCC() {
		t.Errorf("REMB % x not recognised", remb)
	}
	twcc := []byte{2<<6 | 15, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1, 0, 0, 1, 0, 0x20, 1, 4, 0}
	if p := first(t, twcc); !p.IsTransportCC() || p.IsREMB() {
		t.Errorf("transport-wide feedback % x not recognised", twcc)
	}
	afb := bytes.Replace(remb, []byte("REMB"), []byte("GOOG"), 1)
	if first(t, afb).IsREMB() {
		t.Error("another application's feedback taken for REMB")
	}
}

// TestRTCPCompound reads what Sluice sends most: report, name, feedback.
func TestRTCPCompound(t *testing.T) {
	b := AppendReceiverReport(nil, 1, []ReportBlock{{SSRC: 2}})
	b = AppendDescription(b, 1, "sluice")
	b = AppendNACK(b, 1, 2, []uint16{65535, 0, 1})
	b = AppendPLI(b, 1, 2)

	theirs, err := rtcp.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := rtcp.CompoundPacket(theirs).Validate(); err != nil {
		t.Errorf("pion takes it for no valid compound: %v", err)
	}
	var kinds []uint8
	c := Compound(b)
	for p, ok := c.Next(); ok; p, ok = c.Next() {
		kinds = append(kinds, p.Type)
	}
	want := []uint8{RTCPReceiverReport, RTCPDescription, RTCPTransportFeedback, RTCPPayloadFeedback}
	if !slices.Equal(kinds, want) || len(c) != 0 {
		t.Errorf("types %v with %d bytes left, want %v", kinds, len(c), want)
	}
}

// TestRTCPLies has a good PLI before each lie: it must still be read, and
// nothing after it.
func TestRTCPLies(t *testing.T) {
	for name, lie := range map[string][]byte{
		"header cut short":            {2 << 6, 201, 0},
		"length beyond the datagram":  {2 << 6, 201, 0, 2, 0, 0, 0, 1},
		"version 1":                   {1 << 6, 201, 0, 1, 0, 0, 0, 1},
		"version 3":                   {3 << 6, 201, 0, 1, 0, 0, 0, 1},
		"padding of 0":                {2<<6 | 0x20, 201, 0, 1, 0, 0, 0, 0},
		"padding more than the body":  {2<<6 | 0x20, 201, 0, 1, 0, 0, 0, 5},
		"padding without a body":      {2<<6 | 0x20, 201, 0, 0},
		"length of 65535 on 4 octets": {2 << 6, 205, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			c := Compound(append(AppendPLI(nil, 1, 2), lie...))
			if p, ok := c.Next(); !ok || p.Type != RTCPPayloadFeedback {
				t.Fatalf("the packet before the lie reads %+v, %v", p, ok)
			}
			if p, ok := c.Next(); ok {
				t.Errorf("read %+v", p)
			}
			if !bytes.Equal(c, lie) {
				t.Errorf("% x left, want % x", []byte(c), lie)
			}
		})
	}
}

func TestRTCPPaddingIsCutOff(t *testing.T) {
	b := AppendNACK(nil, 1, 2, []uint16{7})
	b[0] |= 0x20
	b = CloseRTCP(append(b, 0, 0, 0, 4), 0)
	_, view, ok := first(t, b).NACK()
	if got := readLost(view); !ok || !slices.Equal(got, []uint16{7}) {
		t.Errorf("lost %v, %v, want [7]", got, ok)
	}
}

// TestRTCPCountLies has packets whose length is right and whose count is not.
func TestRTCPCountLies(t *testing.T) {
	body := make([]byte, 24)
	for _, kind := range []uint8{RTCPSenderReport, RTCPReceiverReport, RTCPGoodbye} {
		p := RTCP{Type: kind, Count: 31, Body: body}
		if _, ok := p.SenderReport(); ok {
			t.Errorf("type %d: sender report read", kind)
		}
		if n := p.ReportBlocks().Len(); n != 0 {
			t.Errorf("type %d: %d report blocks read", kind, n)
		}
		if n := p.Goodbye().Len(); n != 0 {
			t.Errorf("type %d: %d sources read", kind, n)
		}
	}
	half := RTCP{Type: RTCPTransportFeedback, Count: FormatNACK, Body: make([]byte, 10)}
	if _, _, ok := half.NACK(); ok {
		t.Error("half a NACK entry read")
	}
	none := RTCP{Type: RTCPTransportFeedback, Count: FormatNACK, Body: make([]byte, 8)}
	if _, _, ok := none.NACK(); ok {
		t.Error("a NACK without an entry read")
	}
	halfFIR := RTCP{Type: RTCPPayloadFeedback, Count: FormatFIR, Body: make([]byte, 20)}
	if n := halfFIR.FIR().Len(); n != 0 {
		t.Errorf("%d entries read of one and a half", n)
	}
	for _, kind := range []uint8{RTCPSenderReport, RTCPReceiverReport, RTCPTransportFeedback, RTCPPayloadFeedback} {
		if _, ok := (RTCP{Type: kind, Body: make([]byte, 3)}).Sender(); ok {
			t.Errorf("type %d: sender read from 3 bytes", kind)
		}
	}
}

func TestRTCPAllocates(t *testing.T) {
	buf := make([]byte, 0, 1500)
	blocks := []ReportBlock{{SSRC: 2}, {SSRC: 3}}
	lost := []uint16{1, 2, 3, 40}
	sr := SenderReport{SSRC: 1}
	var sum uint32
	allocs := testing.AllocsPerRun(100, func() {
		b := AppendSenderReport(buf, &sr)
		b = AppendReceiverReport(b, 1, blocks)
		b = AppendDescription(b, 1, "sluice")
		b = AppendNACK(b, 1, 2, lost)
		b = AppendPLI(b, 1, 2)
		b = AppendFIR(b, 1, 2, 3)
		b = AppendGoodbye(b, "ended", 1, 2)
		sum += readAll(b)
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
	if sum == 0 {
		t.Error("nothing was read")
	}
}

// readAll reads everything there is to read and returns something of it.
func readAll(b []byte) (sum uint32) {
	c := Compound(b)
	for p, ok := c.Next(); ok; p, ok = c.Next() {
		ssrc, _ := p.Sender()
		sr, _ := p.SenderReport()
		sum += ssrc + sr.RTP
		blocks := p.ReportBlocks()
		for i := range blocks.Len() {
			sum += blocks.At(i).SSRC
		}
		ssrcs := p.Goodbye()
		for i := range ssrcs.Len() {
			sum += ssrcs.At(i)
		}
		_, lost, _ := p.NACK()
		for seq, ok := lost.Next(); ok; seq, ok = lost.Next() {
			sum += uint32(seq)
		}
		entries := p.FIR()
		for i := range entries.Len() {
			sum += entries.At(i).SSRC
		}
		if media, ok := p.PLI(); ok || p.IsREMB() || p.IsTransportCC() {
			sum += media
		}
	}
	return sum
}

// FuzzRTCP holds two things against any bytes: nothing panics, and what pion
// accepts as one of the packets that decide something reads the same here.
func FuzzRTCP(f *testing.F) {
	f.Add(AppendNACK(AppendReceiverReport(nil, 1, []ReportBlock{{SSRC: 2, Lost: -1}}), 1, 2, []uint16{65535, 0, 9, 200}))
	f.Add(AppendPLI(AppendSenderReport(nil, &SenderReport{SSRC: 1, NTP: 1 << 63, RTP: 5}), 1, 2))
	f.Add(AppendGoodbye(AppendFIR(AppendDescription(nil, 1, "a"), 1, 2, 3), "bye", 1))
	f.Add([]byte{2<<6 | 0x20 | 1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		readAll(b)
		if !bytes.Equal(b, before) {
			t.Fatal("reading changed the bytes")
		}
		c := Compound(b)
		for len(c) > 0 {
			whole := []byte(c)
			p, ok := c.Next()
			if !ok {
				return
			}
			if whole[0]&0x20 == 0 { // pion reads padding as content
				compareWithPion(t, whole[:len(whole)-len(c)], p)
			}
		}
	})
}

func compareWithPion(t *testing.T, b []byte, p RTCP) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return
	}
	switch theirs := packets[0].(type) {
	case *rtcp.SenderReport:
		ours, ok := p.SenderReport()
		want := SenderReport{theirs.SSRC, clock.NTP(theirs.NTPTime), theirs.RTPTime, theirs.PacketCount, theirs.OctetCount}
		if !ok || ours != want || !slices.Equal(pionBlocks(readBlocks(p.ReportBlocks())), theirs.Reports) {
			t.Fatalf("we read %+v, pion %+v", ours, theirs)
		}
	case *rtcp.ReceiverReport:
		if ours := pionBlocks(readBlocks(p.ReportBlocks())); !slices.Equal(ours, theirs.Reports) {
			t.Fatalf("we read %+v, pion %+v", ours, theirs.Reports)
		}
	case *rtcp.TransportLayerNack:
		var want []uint16
		for i := range theirs.Nacks {
			want = append(want, theirs.Nacks[i].PacketList()...)
		}
		media, view, ok := p.NACK()
		if got := readLost(view); ok && (media != theirs.MediaSSRC || !slices.Equal(got, want)) || !ok && len(want) != 0 {
			t.Fatalf("we read %d %v %v, pion %+v", media, got, ok, theirs)
		}
	case *rtcp.PictureLossIndication:
		if media, ok := p.PLI(); !ok || media != theirs.MediaSSRC {
			t.Fatalf("we read %d %v, pion %+v", media, ok, theirs)
		}
	}
}
