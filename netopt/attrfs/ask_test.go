package attrfs

import (
	"context"
	"syscall"
	"testing"
)

// Who gets a signal while it waits is told so: EIO is for an appliance that does
// not answer.
func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	wait := func(ctx context.Context) error {
		interrupt()
		<-ctx.Done()
		return ctx.Err()
	}
	if errno := ask(ctx, wait); errno != syscall.EINTR {
		t.Errorf("interrupted: %v", errno)
	}
}
