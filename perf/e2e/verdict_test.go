package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
)

// smooth is how many frames must be decoded in a row without a freeze or a lost
// packet; heard is how much sound, in samples at 48 kHz, must come from packets
// and not from concealment.
const (
	smooth = 30
	heard  = 24000
)

// playing returns "" when the reports hold a stretch, up to the last one, over
// which the viewer decoded media as it should: never "connected" alone. A busy
// machine may stumble before the stretch begins; a stream that keeps stumbling
// has no such stretch.
func playing(kinds, mime string) func([]report) string {
	return func(reports []report) string {
		last := reports[len(reports)-1]
		if last.State != "connected" {
			return "state is " + last.State
		}
		reason := "only one report"
		for i := len(reports) - 2; i >= 0; i-- {
			reason = between(reports[i], last, kinds, mime)
			if reason == "" {
				return ""
			}
		}
		return reason
	}
}

// between judges the stretch from report a to report b.
func between(a, b report, kinds, mime string) string {
	if strings.Contains(kinds, "v") {
		if reason := betweenVideo(a, b, mime); reason != "" {
			return reason
		}
	}
	if strings.Contains(kinds, "a") {
		return betweenAudio(a.Audio, b.Audio)
	}
	return ""
}

func betweenVideo(a, b report, mime string) string {
	if b.Video == nil {
		return "no video arrives"
	}
	if mime != "" && !strings.EqualFold(b.Video.Codec, mime) {
		return fmt.Sprintf("video arrives as %q, not %s", b.Video.Codec, mime)
	}
	before, after := value(a.Video), *b.Video
	if lost := after.PacketsLost - before.PacketsLost; lost > 0 {
		return fmt.Sprintf("%d video packets lost on a link that loses none", lost)
	}
	if froze := value(after.FreezeCount) - value(before.FreezeCount); froze != 0 {
		return fmt.Sprintf("video froze %d times", froze)
	}
	if n := after.FramesDecoded - before.FramesDecoded; n < smooth {
		return fmt.Sprintf("%d frames decoded, want %d", n, smooth)
	}
	if n := b.Pixels.Moved - a.Pixels.Moved; n < 3 {
		return fmt.Sprintf("the picture moved %d times in %d looks", n, b.Pixels.Looks-a.Pixels.Looks)
	}
	return ""
}

func betweenAudio(a, b *audioStats) string {
	if b == nil {
		return "no audio arrives"
	}
	if !strings.EqualFold(b.Codec, "audio/opus") {
		return fmt.Sprintf("audio arrives as %q, not audio/opus", b.Codec)
	}
	before, after := value(a), *b
	if lost := after.PacketsLost - before.PacketsLost; lost > 0 {
		return fmt.Sprintf("%d audio packets lost on a link that loses none", lost)
	}
	if n := after.decoded() - before.decoded(); n < heard {
		return fmt.Sprintf("%d audio samples decoded, want %d", n, heard)
	}
	if value(after.Energy) <= value(before.Energy) {
		return "audio is silent"
	}
	return ""
}

// decoded is the number of samples that came from packets.
func (a audioStats) decoded() int { return value(a.SamplesReceived) - value(a.ConcealedSamples) }

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// summary is one line on what a viewer has decoded so far.
func (r report) summary() string {
	var parts []string
	if v := r.Video; v != nil {
		parts = append(parts, fmt.Sprintf("%d frames %dx%d, %d freezes, %d lost, %d nack, %d pli",
			v.FramesDecoded, v.Width, v.Height, value(v.FreezeCount), v.PacketsLost, v.NackCount, v.PLICount))
	}
	if a := r.Audio; a != nil {
		parts = append(parts, fmt.Sprintf("%.1f s sound", float64(a.decoded())/48000))
	}
	return strings.Join(parts, "; ")
}

// newest returns the peer's latest report.
func (p *peer) newest() report {
	d := p.b.director
	d.mu.Lock()
	defer d.mu.Unlock()
	reports := d.reports[p.id]
	if len(reports) == 0 {
		return report{}
	}
	return reports[len(reports)-1]
}

// last is the latest report as the page sent it.
func (p *peer) last() string {
	b, err := json.Marshal(p.newest())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// count is how many reports the peer has sent.
func (p *peer) count() int {
	d := p.b.director
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.reports[p.id])
}
