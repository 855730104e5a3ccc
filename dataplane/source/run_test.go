package source

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sluice/dataplane/msg"
)

func TestRunKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := demo(t)
		v := &viewer{t: t, clip: c}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		Run(ctx, NewPlayer(c, 77), func(kind msg.Kind, b []byte) {
			v.take(kind, b)
			due := time.Duration(v.opus-1) * 20 * time.Millisecond
			if kind == msg.Video && v.last[kind].Marker {
				due = time.Duration(v.frames-1) * time.Second / 30
			} else if kind == msg.Video {
				return
			}
			if at := time.Since(begun); at != due {
				t.Fatalf("%v at %v, due at %v", kind, at, due)
			}
		})
		// What is due at the very end may or may not be played.
		if v.frames < 600*30 || v.opus < 600*50 {
			t.Errorf("%d frames and %d Opus packets in ten minutes", v.frames, v.opus)
		}
	})
}

// A held up inject stands for a stopped process.
func TestRunAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := demo(t)
		v := &viewer{t: t, clip: c}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		stalled := false
		Run(ctx, NewPlayer(c, 0), func(kind msg.Kind, b []byte) {
			v.take(kind, b)
			if v.frames == 100 && !stalled {
				stalled = true
				time.Sleep(5 * time.Second)
			}
		})
		if v.frames < 447 || v.frames > 456 || v.opus < 745 || v.opus > 761 {
			t.Errorf("%d frames and %d Opus packets in the 15 s that were left of 20 s", v.frames, v.opus)
		}
	})
}
