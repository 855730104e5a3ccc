package source

import (
	"encoding/binary"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"

	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
)

// record plays the clip for that long and writes what a viewer would record.
func record(t *testing.T, length time.Duration) (video, audio string) {
	t.Helper()
	video, audio = filepath.Join(t.TempDir(), "demo.ivf"), filepath.Join(t.TempDir(), "demo.ogg")
	ivf, err := ivfwriter.New(video, ivfwriter.WithCodec("video/VP8"), ivfwriter.WithWidthAndHeight(640, 360))
	if err != nil {
		t.Fatal(err)
	}
	ogg, err := oggwriter.New(audio, AudioClockRate, 1)
	if err != nil {
		t.Fatal(err)
	}
	play(NewPlayer(demo(t), 0), 0, clock.Time(length), func(_ clock.Time, kind msg.Kind, b []byte) {
		write := ogg.WriteRTP
		if kind == msg.Video {
			write = ivf.WriteRTP
		}
		if err := write(parse(t, b)); err != nil {
			t.Fatal(err)
		}
	})
	if err := ivf.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ogg.Close(); err != nil {
		t.Fatal(err)
	}
	return video, audio
}

// ffmpeg returns what ffmpeg writes to stdout; a word on stderr is a failure.
func ffmpeg(t *testing.T, args ...string) []byte {
	t.Helper()
	var complaints strings.Builder
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error", "-nostdin"}, args...)...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("this test decodes with ffmpeg: apt-get install ffmpeg")
	}
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("ffmpeg %s: %v\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return out
}

// The picture decodes over the end of the clip, every frame shows something new,
// and a second round shows the very same as the first.
func TestVideoDecodes(t *testing.T) {
	video, _ := record(t, 25*time.Second)
	out := ffmpeg(t, "-i", video, "-threads", "1", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var sums []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, ","); !strings.HasPrefix(line, "#") {
			sums = append(sums, strings.TrimSpace(f[len(f)-1]))
		}
	}
	if len(sums) != 750 {
		t.Fatalf("%d frames decoded, want 750", len(sums))
	}
	seen := map[string]int{}
	for i, sum := range sums {
		first, again := seen[sum]
		switch {
		case i < 300 && again:
			t.Fatalf("frame %d looks like frame %d", i, first)
		case i < 300:
			seen[sum] = i
		case !again || first != i%300:
			t.Fatalf("frame %d does not look like frame %d", i, i%300)
		}
	}
}

// The sound of one round is that of the next, sample by sample, and nowhere
// steeper at the seam than within: no click.
func TestAudioDecodesWithoutAClick(t *testing.T) {
	_, audio := record(t, 30*time.Second)
	pcm := ffmpeg(t, "-i", audio, "-f", "s16le", "-ac", "1", "-ar", "48000", "-")
	samples := make([]int, len(pcm)/2)
	for i := range samples {
		samples[i] = int(int16(binary.LittleEndian.Uint16(pcm[2*i:])))
	}
	const loop = 480_000
	if len(samples) < 3*loop-8*960 {
		t.Fatalf("%d samples decoded, want about %d", len(samples), 3*loop)
	}
	third := samples[len(samples)-loop:]
	second := samples[len(samples)-2*loop:][:loop]
	loudest := 0
	for i := range third {
		if d := third[i] - second[i]; d < -1 || d > 1 {
			t.Fatalf("sample %d of the third round is %d, of the second %d", i, third[i], second[i])
		}
		loudest = max(loudest, third[i], -third[i])
	}
	// Quiet, but not silent: -40 to -20 dB of full scale.
	if loudest < 327 || loudest > 3277 {
		t.Errorf("the loudest sample is %d", loudest)
	}
	bend := func(around []int) (most int) {
		for i := 2; i < len(around); i++ {
			d := around[i] - 2*around[i-1] + around[i-2]
			most = max(most, d, -d)
		}
		return most
	}
	seam := len(samples) - loop
	if at, within := bend(samples[seam-960:seam+960]), bend(third[960:loop-960]); at > within {
		t.Errorf("the waveform bends by %d at the seam, by at most %d elsewhere", at, within)
	}
}
