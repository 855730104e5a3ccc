package load

import (
	"testing"
	"time"
)

// Who holds still finishes the frame that was begun, and begins no other.
func TestFinish(t *testing.T) {
	p := &publisher{media: Media{FPS: 10, PPF: 4, Spread: 40 * time.Millisecond}}
	q := &pacer{queue: queue{p}}
	p.begin(1000)
	if p.due() != 1000 || !q.finished() {
		t.Fatalf("due at %d before a frame was begun", p.due())
	}
	p.begin(1000)
	p.part = 3
	if q.finished() || p.due() != 1000+int64(30*time.Millisecond) {
		t.Fatalf("the last packet of a frame is due at %d", p.due())
	}
	p.part = 0 // it is out
	if !q.finished() {
		t.Fatalf("due at %d after the frame", p.due())
	}
}
