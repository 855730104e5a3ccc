package feedback

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// status is what a report says of one packet: when it arrived, in ticks modulo
// 2^32, or that it did not.
type status struct {
	arrived bool
	ticks   uint32
}

func ticksOf(t clock.Time) uint32 { return uint32(t / clock.Time(tick)) }

// decode lets pion read a report and returns the base sequence number, what the
// report says of each packet, and its symbols.
func decode(t *testing.T, b []byte) (report rtcp.TransportLayerCC, packets []status, symbols []uint16) {
	t.Helper()
	if err := report.Unmarshal(b); err != nil {
		t.Fatalf("pion refuses % x: %v", b, err)
	}
	for _, chunk := range report.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				symbols = append(symbols, c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			symbols = append(symbols, c.SymbolList...)
		}
	}
	if len(symbols) < int(report.PacketStatusCount) {
		t.Fatalf("%d symbols for %d packets", len(symbols), report.PacketStatusCount)
	}
	symbols = symbols[:report.PacketStatusCount]
	at, deltas := report.ReferenceTime<<8, report.RecvDeltas
	for _, s := range symbols {
		if s == rtcp.TypeTCCPacketNotReceived {
			packets = append(packets, status{})
			continue
		}
		at += uint32(int32(deltas[0].Delta / rtcp.TypeTCCDeltaScaleFactor))
		deltas = deltas[1:]
		packets = append(packets, status{true, at})
	}
	if len(deltas) != 0 {
		t.Fatalf("%d deltas too many", len(deltas))
	}
	return report, packets, symbols
}

// TestArrivalsVector is a report worked out by hand.
func TestArrivalsVector(t *testing.T) {
	var a Arrivals
	at := func(ms float64) clock.Time { return clock.Time(ms * float64(time.Millisecond)) }
	a.Received(10, at(640)) // reference time 10, delta 0
	a.Received(11, at(641)) // 4 ticks later
	a.Received(13, at(740)) // 396 ticks later: a large delta
	a.Received(14, at(739)) // 4 ticks before: a large delta
	got := a.AppendFeedback(nil, 0x11223344, 0x55667788, 1200)
	want := []byte{
		0x8f, 205, 0, 6, // version 2, FMT 15, seven words
		0x11, 0x22, 0x33, 0x44,
		0x55, 0x66, 0x77, 0x88,
		0, 10, 0, 5, // base sequence number, five packets
		0, 0, 10, 0, // reference time, report 0
		0xd4, 0xa0, // two-bit vector: 01 01 00 10 10, two unused
		0, 4, // small deltas
		0x01, 0x8c, 0xff, 0xfc, // large deltas
	}
	if !bytes.Equal(got, want) {
		t.Errorf("report\n% x, want\n% x", got, want)
	}
	if a.Pending() || len(a.AppendFeedback(nil, 1, 2, 1200)) != 0 {
		t.Error("more to report than was received")
	}
}

func TestArrivalsBeforeTheFirst(t *testing.T) {
	var a Arrivals
	if a.Pending() || len(a.AppendFeedback(nil, 1, 2, 1200)) != 0 {
		t.Error("something to report before the first packet")
	}
}

// TestArrivalsLatePacket holds that what was reported lost is reported again
// once it came.
func TestArrivalsLatePacket(t *testing.T) {
	var a Arrivals
	a.Received(1, after(0))
	a.Received(3, after(2))
	a.AppendFeedback(nil, 1, 2, 1200)
	a.Received(2, after(3))
	report, got, _ := decode(t, a.AppendFeedback(nil, 1, 2, 1200))
	want := []status{{true, ticksOf(after(3))}, {true, ticksOf(after(2))}}
	if report.BaseSequenceNumber != 2 || report.FbPktCount != 1 || !slices.Equal(got, want) {
		t.Errorf("report %d from %d: %v, want 1 from 2: %v", report.FbPktCount, report.BaseSequenceNumber, got, want)
	}
}

func TestArrivalsDuplicateAndTooOld(t *testing.T) {
	var a Arrivals
	a.Received(5000, after(0))
	a.AppendFeedback(nil, 1, 2, 1200)
	a.Received(5000, after(1))
	a.Received(5000-arrivalWindow, after(1))
	if a.Pending() {
		t.Error("a duplicate and a packet below the window are reported")
	}
	a.Received(5000-arrivalWindow+1, after(1))
	if !a.Pending() {
		t.Error("the oldest of the window is not reported")
	}
}

// TestArrivalsFarApart has pauses that no delta can express.
func TestArrivalsFarApart(t *testing.T) {
	for _, pause := range []time.Duration{8190 * time.Millisecond, 8193 * time.Millisecond, time.Hour, -8193 * time.Millisecond} {
		var a Arrivals
		first, second := start.Add(2*time.Hour), start.Add(2*time.Hour+pause)
		a.Received(1, first)
		a.Received(3, second)
		var got []status
		reports := 0
		for a.Pending() {
			_, packets, _ := decode(t, a.AppendFeedback(nil, 1, 2, 1200))
			got = append(got, packets...)
			reports++
		}
		want := []status{{true, ticksOf(first)}, {}, {true, ticksOf(second)}}
		wantReports := 2
		if pause == 8190*time.Millisecond {
			wantReports = 1
		}
		if !slices.Equal(got, want) || reports != wantReports {
			t.Errorf("pause of %v: %v in %d reports, want %v in %d", pause, got, reports, want, wantReports)
		}
	}
}

// TestArrivalsGreatGap jumps further than the window reaches.
func TestArrivalsGreatGap(t *testing.T) {
	var a Arrivals
	for seq := range uint16(arrivalWindow) {
		a.Received(seq, after(0))
	}
	a.Received(20001, after(1))
	report, got, _ := decode(t, a.AppendFeedback(nil, 1, 2, 1200))
	if report.BaseSequenceNumber != 20002-arrivalWindow || len(got) != arrivalWindow {
		t.Fatalf("%d packets from %d reported", len(got), report.BaseSequenceNumber)
	}
	want := make([]status, arrivalWindow)
	want[arrivalWindow-1] = status{true, ticksOf(after(1))}
	if !slices.Equal(got, want) {
		t.Error("not exactly the last packet arrived")
	}
}

// TestArrivalsLeavesTheWindow holds that what was not reported before it left
// the window is not reported from another packet's slot.
func TestArrivalsLeavesTheWindow(t *testing.T) {
	var a Arrivals
	a.Received(1, after(0))
	a.AppendFeedback(nil, 1, 2, 1200)
	a.Received(2+arrivalWindow, after(1)) // 2 is just too old now
	report, got, _ := decode(t, a.AppendFeedback(nil, 1, 2, 1200))
	if report.BaseSequenceNumber != 3 || len(got) != arrivalWindow || got[0].arrived {
		t.Errorf("%d packets from %d reported, want %d from 3", len(got), report.BaseSequenceNumber, arrivalWindow)
	}
}

// pack is the slow twin of the chunk packing: it writes each chunk as a string
// of bits, whichever kind covers the most packets.
func pack(symbols []uint16) (words []uint16) {
	for len(symbols) > 0 {
		run := 0
		for run < len(symbols) && symbols[run] == symbols[0] {
			run++
		}
		bits, covered := "0"+digits(symbols[0], 2)+digits(uint16(run), 13), run
		next := symbols[:min(len(symbols), 14)]
		if slices.Max(next) <= 1 && len(next) > covered {
			bits, covered = "10", len(next)
			for _, s := range next {
				bits += digits(s, 1)
			}
		}
		next = symbols[:min(len(symbols), 7)]
		if len(next) > covered {
			bits, covered = "11", len(next)
			for _, s := range next {
				bits += digits(s, 2)
			}
		}
		bits += strings.Repeat("0", 16-len(bits))
		word, _ := strconv.ParseUint(bits, 2, 16)
		words = append(words, uint16(word))
		symbols = symbols[covered:]
	}
	return words
}

func digits(v uint16, width int) string {
	s := strconv.FormatUint(uint64(v), 2)
	return strings.Repeat("0", width-len(s)) + s
}

// TestArrivalsAgainstPion feeds random streams with loss, reordering and
// duplicates across the wraps of the sequence number and of the reference time,
// in reports of any size, and holds each report against what arrived.
func TestArrivalsAgainstPion(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		// 2^32 ticks are 12.4 days; half of the streams cross that.
		now := start
		if seed%2 == 0 {
			now = clock.Time(tick)<<32 - clock.Time(2*time.Second)
		}
		size := 1 << 15
		if seed%3 > 0 {
			size = 28 + r.IntN(300)
		}
		loss, reorder := r.IntN(40), r.IntN(20)
		longest := time.Duration(1 + r.IntN(20_000_000)) // of the time between packets
		if seed%5 == 0 {
			longest *= 10
		}

		var a Arrivals
		arrived := map[uint64]status{}
		ext := uint64(cycle + 65000 + r.IntN(1000))
		var highest, reported uint64 // reported: everything below it was
		reports := uint8(0)
		receive := func(e uint64) {
			if highest == 0 {
				reported = e
			}
			if !arrived[e].arrived {
				arrived[e] = status{true, ticksOf(now)}
				reported = min(reported, e)
			}
			highest = max(highest, e)
			a.Received(uint16(e), now)
		}
		flush := func() {
			for a.Pending() {
				b := a.AppendFeedback(nil, 1, 2, size)
				if len(b) > size || len(b)%4 != 0 {
					t.Fatalf("seed %d: report of %d bytes, at most %d", seed, len(b), size)
				}
				report, packets, symbols := decode(t, b)
				if report.BaseSequenceNumber != uint16(reported) || report.FbPktCount != reports || len(packets) == 0 {
					t.Fatalf("seed %d: report %d of %d packets from %d, want %d from %d", seed, report.FbPktCount, len(packets), report.BaseSequenceNumber, reports, uint16(reported))
				}
				for i, p := range packets {
					if want := arrived[reported+uint64(i)]; p != want {
						t.Fatalf("seed %d: packet %d reported %v, want %v", seed, reported+uint64(i), p, want)
					}
				}
				reported += uint64(len(packets))
				reports++
				if a.Pending() && len(b) != size&^3 {
					t.Fatalf("seed %d: report of %d bytes where %d fit, with more to report", seed, len(b), size)
				}
				if size == 1<<15 {
					comparePacking(t, b, symbols)
				}
			}
			if reported != highest+1 {
				t.Fatalf("seed %d: reported up to %d, want %d", seed, reported, highest+1)
			}
		}
		var late []uint64
		for range 4000 {
			ext++
			now = now.Add(time.Duration(r.Int64N(int64(longest))))
			switch x := r.IntN(100); {
			case x < loss:
				ext += r.Uint64N(3)
			case x < loss+reorder:
				late = append(late, ext)
			default:
				receive(ext)
			}
			if len(late) > 0 && r.IntN(3) == 0 && highest != 0 {
				receive(late[0])
				late = late[1:]
			}
			if highest != 0 && r.IntN(20) == 0 {
				receive(highest) // a duplicate
			}
			if highest != 0 && r.IntN(60) == 0 {
				flush()
			}
		}
		if reports == 0 {
			t.Fatalf("seed %d: no report", seed)
		}
	}
}

func comparePacking(t *testing.T, b []byte, symbols []uint16) {
	t.Helper()
	for i, want := range pack(symbols) {
		at := 20 + 2*i
		if got := uint16(b[at])<<8 | uint16(b[at+1]); got != want {
			t.Fatalf("chunk %d is %016b, want %016b for %v", i, got, want, symbols)
		}
	}
}

// TestArrivalsInCompound holds that a report after others has its own length.
func TestArrivalsInCompound(t *testing.T) {
	var a Arrivals
	a.Received(1, start)
	b := a.AppendFeedback(wire.AppendPLI(nil, 1, 2), 1, 2, 100)
	c := wire.Compound(b)
	c.Next()
	p, ok := c.Next()
	if !ok || !p.IsTransportCC() || len(c) != 0 {
		t.Errorf("% x does not read as two packets", b)
	}
}
