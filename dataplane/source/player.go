package source

import (
	"encoding/binary"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
)

// How a Player's packets look, for those who describe its streams: RFC 7741 for
// VP8, RFC 7587 for Opus. The numbers mean nothing outside the process, since
// each viewer is told its own.
const (
	VideoPT        = 96
	VideoClockRate = 90000 // Hz
	VideoSSRC      = 1
	AudioPT        = 111
	AudioClockRate = 48000 // Hz
	AudioSSRC      = 2
)

// MaxPayload is the largest RTP payload of a Player's packets, in bytes. It
// leaves room for extensions, tags and tunnels below any usual MTU.
const MaxPayload = 1100

// maxLate is how far behind a Player may be before it gives up catching up: less
// than what a viewer's jitter buffer holds, more than any hiccup of a scheduler.
const maxLate = 200 * time.Millisecond

// Player turns a clip into RTP packets, round and round: sequence numbers,
// timestamps and picture ids run on over the end of the clip. Not safe for
// concurrent use.
type Player struct {
	clip  *Clip
	start clock.Time
	beats uint64 // by which everything was put off since start
	video track
	audio track
}

// track is the state of one of the two streams.
type track struct {
	next uint64 // frames or packets played so far, over all loops
	seq  uint16
}

// NewPlayer returns a player whose first frame and first Opus packet are due at
// start.
func NewPlayer(c *Clip, start clock.Time) *Player { return &Player{clip: c, start: start} }

// Poll emits every packet that is due at now, in order, and returns when the
// next is due. All packets of a frame are due together. An emitted packet
// belongs to emit.
//
// A player that is polled more than 200 ms late puts off all that follows by the
// whole tenths of a second it is behind: a viewer sees the picture stand still
// and go on, with the time that passed in the timestamps and nothing missing.
func (p *Player) Poll(now clock.Time, emit func(kind msg.Kind, rtp []byte)) (next clock.Time) {
	if late := now.Sub(min(p.videoDue(), p.audioDue())); late > maxLate {
		p.beats += uint64(late / beat)
	}
	for {
		video, audio := p.videoDue(), p.audioDue()
		switch {
		case now < video && now < audio:
			return min(video, audio)
		case video <= audio:
			p.playFrame(emit)
		default:
			p.playOpus(emit)
		}
	}
}

// videoSlot counts frame times since start, whether or not one was used.
func (p *Player) videoSlot() uint64 { return p.video.next + p.beats*framesABeat }
func (p *Player) audioSlot() uint64 { return p.audio.next + p.beats*packetsBeat }

func (p *Player) videoDue() clock.Time { return p.start + due(p.videoSlot(), frameRate) }
func (p *Player) audioDue() clock.Time { return p.start + due(p.audioSlot(), packetRate) }

// due is when a slot begins. It is computed from the count, not summed up, so
// that nothing is lost to rounding.
func due(slot, rate uint64) clock.Time {
	secs, rest := slot/rate, slot%rate
	return clock.Time(secs*uint64(time.Second) + rest*uint64(time.Second)/rate)
}

// playFrame emits the next frame in packets of equal size but for the last, as
// UDP_SEGMENT likes them.
func (p *Player) playFrame(emit func(msg.Kind, []byte)) {
	const room = MaxPayload - vp8DescriptorLen
	frame := p.clip.video[p.video.next%uint64(len(p.clip.video))]
	ts := uint32(p.videoSlot() * (VideoClockRate / frameRate))
	packets := (len(frame) + room - 1) / room
	size := (len(frame) + packets - 1) / packets
	for begin := 0; begin < len(frame); begin += size {
		end := min(begin+size, len(frame))
		b := appendRTP(make([]byte, 0, rtpHeaderLen+MaxPayload), VideoPT, end == len(frame), p.video.seq, ts, VideoSSRC)
		b = appendVP8Descriptor(b, begin == 0, uint16(p.video.next))
		p.video.seq++
		emit(msg.Video, append(b, frame[begin:end]...))
	}
	p.video.next++
}

func (p *Player) playOpus(emit func(msg.Kind, []byte)) {
	packet := p.clip.audio[p.audio.next%uint64(len(p.clip.audio))]
	ts := uint32(p.audioSlot() * (AudioClockRate / packetRate))
	b := appendRTP(make([]byte, 0, rtpHeaderLen+len(packet)), AudioPT, false, p.audio.seq, ts, AudioSSRC)
	p.audio.seq++
	p.audio.next++
	emit(msg.Audio, append(b, packet...))
}

const rtpHeaderLen = 12

// appendRTP appends a fixed RTP header (RFC 3550 section 5.1).
func appendRTP(b []byte, pt byte, marker bool, seq uint16, ts, ssrc uint32) []byte {
	if marker {
		pt |= 0x80
	}
	b = append(b, 2<<6, pt)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, ts)
	return binary.BigEndian.AppendUint32(b, ssrc)
}

const vp8DescriptorLen = 4

// appendVP8Descriptor appends a VP8 payload descriptor (RFC 7741 section 4.2)
// with the lower 15 bits of the picture id. The partition index stays 0, as the
// RFC allows.
func appendVP8Descriptor(b []byte, frameStart bool, picture uint16) []byte {
	const x, s, i, m = 0x80, 0x10, 0x80, 0x8000
	first := byte(x)
	if frameStart {
		first |= s
	}
	return binary.BigEndian.AppendUint16(append(b, first, i), m|picture)
}
