package source

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
)

// play polls p whenever it asks for it, from begin to before end.
func play(p *Player, begin, end clock.Time, f func(now clock.Time, kind msg.Kind, b []byte)) {
	for now := begin; now < end; {
		now = p.Poll(now, func(kind msg.Kind, b []byte) { f(now, kind, b) })
	}
}

func parse(t *testing.T, b []byte) *rtp.Packet {
	t.Helper()
	p := new(rtp.Packet)
	if err := p.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	if p.Padding || p.Extension || len(p.CSRC) > 0 {
		t.Fatalf("unexpected header %v", p.Header)
	}
	return p
}

// viewer checks what a receiver relies on, packet by packet.
type viewer struct {
	t      *testing.T
	clip   *Clip
	last   [2]*rtp.Packet
	frame  []byte
	frames int
	opus   int
}

func (v *viewer) take(kind msg.Kind, b []byte) {
	p := parse(v.t, b)
	if last := v.last[kind]; last != nil && p.SequenceNumber != last.SequenceNumber+1 {
		v.t.Fatalf("%v: sequence number %d after %d", kind, p.SequenceNumber, last.SequenceNumber)
	}
	if len(p.Payload) > MaxPayload {
		v.t.Fatalf("%v: payload of %d bytes", kind, len(p.Payload))
	}
	if kind == msg.Audio {
		v.takeOpus(p)
	} else {
		v.takeVP8(p)
	}
	v.last[kind] = p
}

func (v *viewer) takeOpus(p *rtp.Packet) {
	if p.PayloadType != AudioPT || p.SSRC != AudioSSRC {
		v.t.Fatalf("audio packet with %v", p.Header)
	}
	if !bytes.Equal(p.Payload, v.clip.audio[v.opus%len(v.clip.audio)]) {
		v.t.Fatalf("Opus packet %d is not the clip's", v.opus)
	}
	v.opus++
}

func (v *viewer) takeVP8(p *rtp.Packet) {
	if p.PayloadType != VideoPT || p.SSRC != VideoSSRC {
		v.t.Fatalf("video packet with %v", p.Header)
	}
	var d codecs.VP8Packet
	if _, err := d.Unmarshal(p.Payload); err != nil {
		v.t.Fatal(err)
	}
	if first := len(v.frame) == 0; (d.S == 1) != first || d.PID != 0 || d.N != 0 || d.L|d.T|d.K != 0 {
		v.t.Fatalf("frame %d: descriptor %+v, first packet %v", v.frames, d, first)
	}
	if d.PictureID != uint16(v.frames%(1<<15)) {
		v.t.Fatalf("frame %d has picture id %d", v.frames, d.PictureID)
	}
	v.frame = append(v.frame, d.Payload...)
	if !p.Marker {
		return
	}
	if !bytes.Equal(v.frame, v.clip.video[v.frames%len(v.clip.video)]) {
		v.t.Fatalf("frame %d is not the clip's", v.frames)
	}
	v.frames++
	v.frame = v.frame[:0]
}

func TestPlayerLoops(t *testing.T) {
	const start = clock.Time(12345)
	c := demo(t)
	v := &viewer{t: t, clip: c}
	var due clock.Time
	play(NewPlayer(c, start), start, start.Add(30*time.Second), func(now clock.Time, kind msg.Kind, b []byte) {
		last := v.last[kind]
		v.take(kind, b)
		p := v.last[kind]
		if now < due {
			t.Fatalf("due at %d after %d", now, due)
		}
		due = now
		frameStart := v.frames
		if kind == msg.Video && p.Marker {
			frameStart--
		}
		step, want := uint32(960), start.Add(time.Duration(v.opus-1)*20*time.Millisecond)
		if kind == msg.Video {
			step, want = 3000, start.Add(time.Duration(frameStart)*time.Second/30)
		}
		if now != want {
			t.Fatalf("%v packet at %d, due at %d", kind, now, want)
		}
		if last == nil {
			return
		}
		if kind == msg.Video && !last.Marker {
			step = 0
		}
		if p.Timestamp-last.Timestamp != step {
			t.Fatalf("%v: timestamp %d after %d, want %d more", kind, p.Timestamp, last.Timestamp, step)
		}
	})
	if v.frames != 900 || v.opus != 1500 {
		t.Errorf("%d frames and %d Opus packets in three loops", v.frames, v.opus)
	}
}

// Picture ids have 15 bits, sequence numbers 16 and timestamps 32: a day takes
// all of them past their end more than once.
func TestPlayerRunsForDays(t *testing.T) {
	c := demo(t)
	p := NewPlayer(c, 0)
	const frames, packets = 30*86400 - 7, 50*86400 - 11
	p.video.next, p.audio.next = frames, packets
	begin := min(p.videoDue(), p.audioDue())
	v := &viewer{t: t, clip: c, frames: frames, opus: packets}
	var ts uint32
	play(p, begin, begin.Add(time.Second), func(now clock.Time, kind msg.Kind, b []byte) {
		v.take(kind, b)
		if kind == msg.Video {
			ts = v.last[kind].Timestamp
		}
	})
	if want := uint32((v.frames - 1) * 3000 % (1 << 32)); ts != want {
		t.Errorf("timestamp %d, want %d", ts, want)
	}
}

func TestPlayerAfterAStall(t *testing.T) {
	for _, tc := range []struct {
		stall time.Duration
		beats uint64
	}{
		{0, 0},
		{maxLate, 0},
		{maxLate + 1, 2},
		{999 * time.Millisecond, 9},
		{time.Second, 10},
		{90 * time.Hour, 90 * 3600 * 10},
	} {
		c := demo(t)
		p := NewPlayer(c, 0)
		v := &viewer{t: t, clip: c}
		take := func(_ clock.Time, kind msg.Kind, b []byte) { v.take(kind, b) }
		play(p, 0, clock.Time(7*time.Second), take)
		before, last := *v, p.Poll(0, nil)
		burst := 0
		now := last.Add(tc.stall)
		next := p.Poll(now, func(kind msg.Kind, b []byte) {
			v.take(kind, b)
			burst++
		})
		if next <= now {
			t.Errorf("stall of %v: next at %d, now is %d", tc.stall, next, now)
		}
		frames, opus := v.frames-before.frames, v.opus-before.opus
		if frames > 7 || opus > 11 {
			t.Errorf("stall of %v: a burst of %d frames and %d Opus packets in %d packets", tc.stall, frames, opus, burst)
		}
		play(p, next, next.Add(time.Second), take)
		for kind, step := range map[msg.Kind]uint32{msg.Video: 9000, msg.Audio: 4800} {
			units := map[msg.Kind]int{msg.Video: (v.frames - 1) * 3000, msg.Audio: (v.opus - 1) * 960}[kind]
			if got, want := v.last[kind].Timestamp-uint32(units), uint32(tc.beats)*step; got != want {
				t.Errorf("stall of %v: %v timestamps went %d further than the media, want %d", tc.stall, kind, got, want)
			}
		}
	}
}
