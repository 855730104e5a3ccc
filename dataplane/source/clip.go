// Package source makes media that arrives without WebRTC: the built-in stream
// "demo", a clip of ten seconds that is played over and over.
//
// A Player decides, without a clock of its own, which RTP packet is due when;
// Run plays it in real time.
package source

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"time"
)

// Clip is encoded media to be played in a loop: VP8 frames, 30 a second, and
// Opus packets of 20 ms, together a whole number of beats long. It starts with a
// keyframe. It is never changed and may be shared.
type Clip struct {
	video [][]byte
	audio [][]byte
}

const (
	frameRate   = 30 // VP8 frames a second
	packetRate  = 50 // Opus packets a second
	opusPacket  = 80 // bytes of each Opus packet of the demo clip
	framesABeat = frameRate / beatsASecond
	packetsBeat = packetRate / beatsASecond

	// A beat is the shortest time that is a whole number of frames and of Opus
	// packets, so picture and sound can be moved by it together.
	beat         = time.Second / beatsASecond
	beatsASecond = 10
)

//go:embed demo/demo.ivf
var demoIVF []byte

//go:embed demo/demo.opus
var demoOpus []byte

// Demo returns the clip of the built-in stream: 640x360 pixels and mono sound.
// demo/make.sh says what is in it and how it was made.
func Demo() (*Clip, error) {
	video, err := readIVF(demoIVF)
	if err != nil {
		return nil, fmt.Errorf("demo.ivf: %w", err)
	}
	audio, err := cut(demoOpus, opusPacket)
	if err != nil {
		return nil, fmt.Errorf("demo.opus: %w", err)
	}
	return newClip(video, audio)
}

// newClip checks what Clip promises.
func newClip(video, audio [][]byte) (*Clip, error) {
	switch beats := len(video) / framesABeat; {
	case beats == 0 || len(video) != beats*framesABeat || len(audio) != beats*packetsBeat:
		return nil, fmt.Errorf("%d frames and %d Opus packets are not the same whole number of beats of %v", len(video), len(audio), beat)
	case video[0][0]&1 != 0: // RFC 6386 section 9.1: 0 is a key frame
		return nil, fmt.Errorf("the first frame is no keyframe: a decoder could not begin there")
	}
	return &Clip{video, audio}, nil
}

// readIVF returns the frames of an IVF file of VP8: a header of 32 bytes, then
// for each frame its length in 4 bytes, a timestamp in 8, and the frame; numbers
// are little-endian.
func readIVF(b []byte) ([][]byte, error) {
	const header, frameHeader = 32, 12
	if len(b) < header || string(b[:4]) != "DKIF" || string(b[8:12]) != "VP80" {
		return nil, fmt.Errorf("not an IVF file of VP8")
	}
	var frames [][]byte
	for b = b[header:]; len(b) > 0; {
		if len(b) < frameHeader {
			return nil, fmt.Errorf("frame %d: the header is cut short", len(frames))
		}
		size := binary.LittleEndian.Uint32(b)
		b = b[frameHeader:]
		if size == 0 || uint64(size) > uint64(len(b)) {
			return nil, fmt.Errorf("frame %d: length %d, want 1 to %d, what is left of the file", len(frames), size, len(b))
		}
		frames = append(frames, b[:size:size])
		b = b[size:]
	}
	return frames, nil
}

// cut returns b in pieces of size bytes.
func cut(b []byte, size int) ([][]byte, error) {
	if len(b)%size != 0 {
		return nil, fmt.Errorf("%d bytes are not a whole number of packets of %d bytes", len(b), size)
	}
	var pieces [][]byte
	for ; len(b) > 0; b = b[size:] {
		pieces = append(pieces, b[:size:size])
	}
	return pieces, nil
}
