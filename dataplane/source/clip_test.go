package source

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
)

func demo(t testing.TB) *Clip {
	t.Helper()
	c, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The committed files are what the committed recipe says.
func TestDemoMatchesRecipe(t *testing.T) {
	recipe, err := os.ReadFile("demo/make.sh")
	if err != nil {
		t.Fatal(err)
	}
	number := func(pattern string) int {
		m := regexp.MustCompile(pattern).FindSubmatch(recipe)
		if m == nil {
			t.Fatalf("demo/make.sh has no %s", pattern)
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	seconds, rate := number(`(?m)^seconds=(\d+)$`), number(`(?m)^rate=(\d+)$`)
	c := demo(t)
	if rate != frameRate || len(c.video) != seconds*rate {
		t.Errorf("%d frames, want %d s at %d a second", len(c.video), seconds, rate)
	}
	if size := number(`seconds \* 50 \* (\d+)\)`); len(c.audio) != seconds*packetRate || size != opusPacket {
		t.Errorf("%d Opus packets of %d bytes, want %d s of %d at 50 a second", len(c.audio), opusPacket, seconds, size)
	}
	if !strings.Contains(string(recipe), "-g $rate -keyint_min $rate") {
		t.Error("the recipe does not ask for a keyframe each second")
	}
	for i, f := range c.video {
		if keyframe := f[0]&1 == 0; keyframe != (i%rate == 0) {
			t.Errorf("frame %d: keyframe is %v", i, keyframe)
		}
		if shown := f[0]&0x10 != 0; !shown {
			t.Errorf("frame %d is not shown", i)
		}
	}
	// RFC 6386 section 9.1: start code, width, height of a key frame.
	head := c.video[0][3:10]
	if want := []byte{0x9d, 0x01, 0x2a, 640 & 0xff, 640 >> 8, 360 & 0xff, 360 >> 8}; !bytes.Equal(head, want) || number(`s=(\d+)x360:`) != 640 {
		t.Errorf("the first keyframe begins with % x, want % x", head, want)
	}
	for i, p := range c.audio {
		if p[0] != 31<<3 { // RFC 6716 section 3.1: CELT, fullband, 20 ms; mono; one frame
			t.Errorf("Opus packet %d has TOC %#x", i, p[0])
		}
	}
	if n := len(demoIVF) + len(demoOpus); n > 700_000 {
		t.Errorf("the clip adds %d bytes to the program", n)
	}
}

func TestReadIVFAgainstOracle(t *testing.T) {
	r, _, err := ivfreader.NewWith(bytes.NewReader(demoIVF))
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range demo(t).video {
		want, _, err := r.ParseNextFrame()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("frame %d differs (%v)", i, err)
		}
	}
	if _, _, err := r.ParseNextFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("the file has more frames: %v", err)
	}
}

func TestReadIVFErrors(t *testing.T) {
	header := demoIVF[:32]
	for name, tc := range map[string]struct {
		file string
		want string
	}{
		"empty":        {"", "not an IVF"},
		"other file":   {"OggS" + string(header[4:]), "not an IVF"},
		"other codec":  {string(header[:8]) + "AV01" + string(header[12:]), "not an IVF"},
		"cut header":   {string(header) + "\x01\x00\x00", "frame 0: the header is cut short"},
		"empty frame":  {string(header) + "\x00\x00\x00\x00" + strings.Repeat("\x00", 8), "frame 0: length 0"},
		"cut frame":    {string(header) + "\x02\x00\x00\x00" + strings.Repeat("\x00", 8) + "x", "frame 0: length 2, want 1 to 1"},
		"huge frame":   {string(header) + "\xff\xff\xff\xff" + strings.Repeat("\x00", 8) + "x", "frame 0: length 4294967295"},
		"second frame": {string(header) + "\x01\x00\x00\x00" + strings.Repeat("\x00", 8) + "x" + "y", "frame 1: the header"},
	} {
		if _, err := readIVF([]byte(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestNewClipRefusesWhatCannotLoop(t *testing.T) {
	c := demo(t)
	for name, tc := range map[string]struct{ video, audio [][]byte }{
		"nothing":          {},
		"a frame short":    {c.video[:299], c.audio},
		"a packet short":   {c.video, c.audio[:499]},
		"different length": {c.video[:150], c.audio},
		"no keyframe":      {c.video[1:31], c.audio[:50]},
	} {
		if _, err := newClip(tc.video, tc.audio); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := cut(demoOpus[1:], opusPacket); err == nil {
		t.Error("a cut Opus packet was accepted")
	}
}
