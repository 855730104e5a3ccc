package attrfs

import (
	"context"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
)

func TestShape(t *testing.T) {
	var s shape
	s.reset([]attrsock.Entry{
		{Path: "version", Mode: "0444"}, {Path: "limits/streams", Mode: "0644"}, {Path: "streams/a/title", Mode: "0644"},
		{Path: "streams/takeover_ms", Mode: "0644"}, {Path: "later", Mode: "rw"},
	})
	s.grow([]attrsock.Entry{{Path: "streams/b/title", Mode: "0644"}, {Path: "streams/b/token", Mode: "0200"}})
	for dir, want := range map[string][]string{
		"": {"limits", "streams", "version"}, "streams": {"a", "b", "takeover_ms"}, "streams/b": {"title", "token"},
	} {
		if got, ok := s.names(dir); !ok || !slices.Equal(got, want) {
			t.Errorf("%q holds %v, %v; want %v", dir, got, ok, want)
		}
	}
	if mode, ok := s.file("streams/b/token"); !ok || mode != 0o200 {
		t.Errorf("mode %o, %v", mode, ok)
	}
	s.remove("streams/b")
	s.remove("streams/none")
	for _, path := range []string{"streams/b", "version", "streams/a/title", "none"} {
		if names, ok := s.names(path); ok {
			t.Errorf("%s is a directory of %v", path, names)
		}
	}
	if _, ok := s.file("streams/b/title"); ok {
		t.Error("an attribute is left of an object that is gone")
	}
	if got, _ := s.names("streams"); !slices.Equal(got, []string{"a", "takeover_ms"}) {
		t.Errorf("streams holds %v", got)
	}
	s.reset(nil)
	if got, ok := s.names(""); !ok || got != nil {
		t.Errorf("an empty tree holds %v, %v", got, ok)
	}
}

// What the tree refuses has its errno, whatever keeps from asking it is EIO, and
// nobody waits for longer than the deadline.
func TestAsk(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{&attr.Error{Code: attr.ERANGE}, syscall.ERANGE},
		{&attr.Error{Code: attr.ENOSPC}, syscall.ENOSPC},
		{attrsock.ErrDown, syscall.EIO},
		{io.ErrUnexpectedEOF, syscall.EIO},
	} {
		if got := ask(t.Context(), func(context.Context) error { return c.err }); got != c.want {
			t.Errorf("%v is %v, want %v", c.err, got, c.want)
		}
	}
	var left time.Duration
	got := ask(t.Context(), func(ctx context.Context) error {
		until, _ := ctx.Deadline()
		left = time.Until(until)
		return context.DeadlineExceeded // as the socket says then
	})
	if got != syscall.EIO || left <= 0 || left > deadline {
		t.Errorf("%v with %v to go", got, left)
	}
}
