package keying

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"sluice/dataplane/pkt"
)

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPacketConn(Passive, pkt.Path{}, nil)
		b := make([]byte, 10)
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Second))
		if _, _, err := c.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		if _, _, err := c.ReadFrom(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a deadline in the past: %v", err)
		}

		// A deadline that is moved, back and then away, while a read waits.
		ended := make(chan error)
		c.SetDeadline(time.Now().Add(time.Second))
		go func() { _, _, err := c.ReadFrom(b); ended <- err }()
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Minute))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("the old deadline counted: %v", err)
		default:
		}
		c.SetReadDeadline(time.Time{})
		time.Sleep(2 * time.Minute)
		c.pushRunning(pkt.Path{}, []byte("late"))
		if err := <-ended; err != nil || string(b[:4]) != "late" {
			t.Fatalf("read %q, %v", b, err)
		}

		// A deadline that is set to the past ends a read that waits.
		go func() { _, _, err := c.ReadFrom(b); ended <- err }()
		synctest.Wait()
		c.SetReadDeadline(time.Unix(1, 0))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

func TestCloseEndsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPacketConn(Passive, pkt.Path{}, nil)
		ended := make(chan error)
		go func() { _, _, err := c.ReadFrom(nil); ended <- err }()
		synctest.Wait()
		c.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		c.fail(errTooMuch)
		if _, _, err := c.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("the first reason must stay: %v", err)
		}
	})
}
