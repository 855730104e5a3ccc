package feedback

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// ours and theirs are the two NTP clocks at the same instant.
const (
	ours   = clock.NTP(0xe8000000_00000000)
	theirs = clock.NTP(0x00001000_80000000)
)

func TestSenderClock(t *testing.T) {
	var line Timeline
	var c SenderClock
	if _, ok := c.At(&line, ours, 90000); ok {
		t.Fatal("a timestamp before the first report")
	}
	c.Observe(&line, &wire.SenderReport{NTP: theirs, RTP: 1000}, ours)
	for _, v := range []struct {
		after time.Duration
		rate  uint32
		want  uint32
	}{
		{0, 90000, 1000},
		{time.Second, 90000, 91000},
		{time.Second, 48000, 49000},
		{500 * time.Millisecond, 90000, 46000},
		{-time.Second / 90, 90000, 0},
		{-time.Second, 90000, 1000 - 90000 + 1<<32},
		{100000 * time.Second, 90000, (1000 + 100000*90000) % (1 << 32)},
	} {
		got, ok := c.At(&line, ours.Add(v.after), v.rate)
		// A duration does not always have an exact NTP fraction.
		if d := int32(got - v.want); !ok || d < -1 || d > 1 {
			t.Errorf("%v at %d Hz: %d, %v, want %d", v.after, v.rate, got, ok, v.want)
		}
	}
}

// TestSenderClockKeepsStreamsTogether has reports of both streams come with
// delays of their own: what they say of one instant must still be said of one.
func TestSenderClockKeepsStreamsTogether(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	var line Timeline
	var audio, video SenderClock
	for s := range 3600 {
		sent := time.Duration(s) * time.Second
		delay := time.Duration(r.IntN(150)) * time.Millisecond
		audio.Observe(&line, &wire.SenderReport{NTP: theirs.Add(sent), RTP: uint32(s * 48000)}, ours.Add(sent+delay))
		sent += 300 * time.Millisecond
		delay = time.Duration(r.IntN(150)) * time.Millisecond
		video.Observe(&line, &wire.SenderReport{NTP: theirs.Add(sent), RTP: uint32(s*90000 + 27000)}, ours.Add(sent+delay))

		now := ours.Add(sent + 500*time.Millisecond)
		a, okA := audio.At(&line, now, 48000)
		v, okV := video.At(&line, now, 90000)
		if !okA || !okV {
			t.Fatal("no timestamp")
		}
		// Both count from media time zero; 1 ms is far below what shows.
		skew := int32(a/48) - int32(v/90)
		if skew < -1 || skew > 1 {
			t.Fatalf("after %d s audio is %d ms ahead of video", s, skew)
		}
	}
}

// TestSenderClockFollowsDrift runs three days against a clock that is wrong by
// 200 parts per million, which comes to 52 s.
func TestSenderClockFollowsDrift(t *testing.T) {
	for _, ppm := range []float64{-200, 200} {
		var line Timeline
		var c SenderClock
		before, first := uint32(0), true
		for s := 0; s < 72*3600; s += 4 {
			elapsed := time.Duration(s) * time.Second
			drifted := elapsed + time.Duration(float64(elapsed)*ppm/1e6)
			rtp := uint32(uint64(drifted.Microseconds()) * 9 / 100)
			c.Observe(&line, &wire.SenderReport{NTP: theirs.Add(drifted), RTP: rtp}, ours.Add(elapsed))
			got, ok := c.At(&line, ours.Add(elapsed), 90000)
			if !ok {
				t.Fatal("no timestamp")
			}
			if off := int32(got - rtp); math.Abs(float64(off)) > 90 {
				t.Fatalf("%v ppm, after %v: %d units ahead of the media", ppm, elapsed, off)
			}
			if step := int32(got - before - 4*90000); !first && (step < -180 || step > 180) {
				t.Fatalf("%v ppm, after %v: a step of %d units", ppm, elapsed, step)
			}
			before, first = got, false
		}
	}
}

// TestSenderClockThatWasSet holds that after a publisher set its clock no
// report mixes the old relation with the new one.
func TestSenderClockThatWasSet(t *testing.T) {
	var line Timeline
	var audio, video SenderClock
	audio.Observe(&line, &wire.SenderReport{NTP: theirs, RTP: 0}, ours)
	video.Observe(&line, &wire.SenderReport{NTP: theirs, RTP: 0}, ours)

	now, set := ours.Add(2*time.Second), theirs.Add(time.Hour+2*time.Second)
	audio.Observe(&line, &wire.SenderReport{NTP: set, RTP: 96000}, now)
	if got, ok := audio.At(&line, now, 48000); !ok || got != 96000 {
		t.Errorf("audio at %d, %v, want 96000", got, ok)
	}
	if got, ok := video.At(&line, now, 90000); ok {
		t.Errorf("video at %d by the old clock", got)
	}
	video.Observe(&line, &wire.SenderReport{NTP: set, RTP: 180000}, now)
	if got, ok := video.At(&line, now, 90000); !ok || got != 180000 {
		t.Errorf("video at %d, %v, want 180000", got, ok)
	}
}

// TestTimelineSlew holds how far one late report may move the offset.
func TestTimelineSlew(t *testing.T) {
	for _, late := range []time.Duration{-400 * time.Millisecond, -maxSlew / 2, 0, maxSlew / 2, 400 * time.Millisecond} {
		var line Timeline
		line.observe(theirs, ours)
		line.observe(theirs, ours.Add(late))
		got, want := line.offset.Sub(ours-theirs), min(max(late, -maxSlew), maxSlew)
		// A duration does not always have an exact NTP fraction.
		if d := got - want; d < -5 || d > 5 {
			t.Errorf("%v late: the offset moved by %v, want %v", late, got, want)
		}
	}
}
