package source

import (
	"context"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
)

// Run plays p in real time, from the start it was made with, until ctx is done.
// It calls inject for each packet when it is due, from the calling goroutine;
// the packets of a frame follow each other at once. inject owns the packet and
// may block: what it holds up is not sent in a burst later, see [Player.Poll].
func Run(ctx context.Context, p *Player, inject func(kind msg.Kind, packet []byte)) {
	begun := time.Now()
	now := func() clock.Time { return p.start.Add(time.Since(begun)) }
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := p.Poll(now(), inject)
		timer.Reset(next.Sub(now()))
	}
}
