package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/controlplane/httpd"
	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
)

// dial serves a tree on a socket and returns its client.
func dial(t testing.TB) (*attrsock.Client, *attr.Tree) {
	t.Helper()
	h, tree := newHandler(well, well)
	socket := filepath.Join(t.TempDir(), "attr.sock")
	l, err := attrsock.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httpd.NewServer(h, slog.New(slog.DiscardHandler))
	go srv.Serve(l)
	t.Cleanup(func() { srv.Shutdown(context.Background()) })
	c := attrsock.New(filepath.Join(t.TempDir(), "none"), socket)
	t.Cleanup(c.Close)
	return c, tree
}

func TestClient(t *testing.T) {
	c, tree := dial(t)
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	got, err := c.Get(ctx, "ice/announce")
	if ok(err); got != "::1\n::2" {
		t.Errorf("%q", got)
	}
	ok(c.Mkdir(ctx, "lines/a"))
	ok(c.Set(ctx, "lines/a/title", "x y"))
	list, err := c.List(ctx, "lines")
	if ok(err); !slices.Equal(list, []string{"lines/a/title"}) {
		t.Errorf("%q", list)
	}
	if list, err = c.List(ctx, "title"); err != nil || !slices.Equal(list, []string{"title"}) {
		t.Errorf("%q, %v", list, err)
	}
	entries, err := c.Entries(ctx, "lines")
	if ok(err); len(entries) != 1 || entries[0].Path != "lines/a/title" || *entries[0].Value != "x y" || *entries[0].Max != 8 {
		t.Errorf("%+v", entries)
	}
	entries, err = c.Entries(ctx, "token")
	if ok(err); len(entries) != 1 || entries[0].Value != nil || entries[0].Mode != "0200" {
		t.Errorf("%+v", entries)
	}
	ok(c.Rmdir(ctx, "lines/a"))
	if list, err = c.List(ctx, "lines"); err != nil || len(list) != 0 {
		t.Errorf("%q, %v", list, err)
	}
	ok(c.Check(ctx, attr.Change{Mkdir: []string{"lines/b"}}))
	ok(c.Apply(ctx, attr.Change{Mkdir: []string{"lines/b"}, Set: map[string]string{"lines/b/title": "y"}}))
	if line.Of(tree, "b") != "y" {
		t.Error("the change is not made")
	}
	for _, e := range []struct {
		err  error
		want string
	}{
		{c.Set(ctx, "admin/watches_max", "1025"), "ERANGE admin/watches_max: 1025 is out of range 0..1024"},
		{c.Set(ctx, "lines/b/title", "a: b\x00"), "EINVAL lines/b/title: byte 4 (0x00) is not printable ASCII"},
		{c.Set(ctx, "title", strings.Repeat("x", 5000)), "EINVAL title: A value has at most 4096 bytes."},
		{c.Set(ctx, "plane/shards", "1"), "EACCES plane/shards: is fixed while running"},
		{c.Set(ctx, "titles", "1"), "ENOENT titles: no such attribute; the nearest is title"},
		{c.Set(ctx, "../../etc/passwd", "1"), "ENOENT ../../etc/passwd: no such attribute"},
		{c.Set(ctx, "a//b", "1"), "ENOENT a//b: no such attribute"},
		{c.Set(ctx, "a?b#c%2f\n", "1"), `ENOENT a?b#c%2f\n: no such attribute`},
		{c.Set(ctx, "lines", "1"), "EISDIR lines: is a directory"},
		{second(c.Get(ctx, "lines")), "EISDIR lines: is a directory"},
		{second(c.Get(ctx, "token")), "EACCES token: can be written only"},
		{c.Mkdir(ctx, "lines/b"), "EEXIST lines/b: is there already"},
		{c.Mkdir(ctx, "lines/.."), `EINVAL lines/..: ".." is not a name`},
		{c.Rmdir(ctx, "plane"), "EPERM plane: is no object"},
		{c.Apply(ctx, attr.Change{Set: map[string]string{"nope": "", "admin/watches_max": "x"}}), "EINVAL admin/watches_max: \"x\" is not a whole number (0..1024)\nnope: no such attribute"},
	} {
		var refused *attr.Error
		if !errors.As(e.err, &refused) {
			t.Errorf("%v, want %s", e.err, e.want)
			continue
		}
		if got := string(refused.Code) + " " + refused.Path + ": " + refused.Reason; !strings.HasPrefix(got, e.want) {
			t.Errorf("got %s, want %s", got, e.want)
		}
	}
	none := attrsock.New(filepath.Join(t.TempDir(), "none"))
	if _, err := none.Get(ctx, "title"); !errors.Is(err, attrsock.ErrDown) {
		t.Errorf("nobody there: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestWatch(t *testing.T) {
	c, tree := dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan attrsock.Event, 16)
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- c.Watch(ctx, "lines", func() { close(ready) }, func(e attrsock.Event) { events <- e })
	}()
	<-ready
	if got, err := tree.Get("admin/watches"); err != nil || got != "1" {
		t.Errorf("%s watches, %v", got, err)
	}
	if errs := tree.Apply(attr.Change{Mkdir: []string{"lines/a"}, Set: map[string]string{"title": "elsewhere", "lines/a/title": "x"}}); errs != nil {
		t.Fatal(errs)
	}
	if err := tree.Rmdir("lines/a"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []attrsock.Event{{Name: "mkdir", Path: "lines/a"}, {Name: "set", Path: "lines/a/title", Value: "x"}, {Name: "rmdir", Path: "lines/a"}} {
		if got := <-events; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if err := tree.Set("admin/watches_max", "1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Watch(ctx, "", nil, nil); err == nil || !strings.Contains(err.Error(), "admin/watches_max") {
		t.Errorf("one too many: %v", err)
	}
	if err := c.Watch(ctx, "nope", nil, nil); err == nil || err.(*attr.Error).Code != attr.ENOENT {
		t.Errorf("nothing there: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if got, err := tree.Get("admin/refused_watches"); err != nil || got != "1" {
		t.Errorf("%s refused, %v", got, err)
	}
}

// Whoever changes the tree does not wait for one who follows, and one who takes
// nothing is let go and counted.
func TestSlowWatcherIsLetGo(t *testing.T) {
	c, tree := dial(t)
	hold := make(chan struct{})
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- c.Watch(t.Context(), "", func() { close(ready) }, func(attrsock.Event) { <-hold })
	}()
	<-ready
	for range 8 * watchBacklog { // more than the backlog and the socket's buffers hold
		if err := tree.Set("title", strings.Repeat("x", attr.MaxBytes)); err != nil {
			t.Fatal(err)
		}
	}
	for lost := ""; lost != "1"; time.Sleep(5 * time.Millisecond) {
		var err error
		if lost, err = tree.Get("admin/lost_watches"); err != nil {
			t.Fatal(err)
		}
	}
	close(hold)
	if err := <-done; err == nil {
		t.Error("it did not end")
	}
}

// Sixteen writers on one attribute over the socket: every value that anyone
// reads is one that somebody wrote, whole, and the last is some writer's last.
func TestConcurrentWriters(t *testing.T) {
	c, tree := dial(t)
	const writers, sets = 16, 25
	value := func(w, i int) string { return strings.Repeat(fmt.Sprintf("%d.%d ", w, i), 100) }
	written := map[string]bool{"Sluice": true}
	last := map[string]bool{}
	for w := range writers {
		for i := range sets {
			written[value(w, i)] = true
		}
		last[value(w, sets-1)] = true
	}
	done := make(chan error)
	for w := range writers {
		go func() {
			var err error
			for i := range sets {
				err = errors.Join(err, c.Set(t.Context(), "title", value(w, i)))
				got, readErr := c.Get(t.Context(), "title")
				if err = errors.Join(err, readErr); !written[got] {
					err = fmt.Errorf("read %.80q, which nobody wrote", got)
				}
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := title.Get(tree); !last[got] {
		t.Errorf("%.80q stayed, which is nobody's last", got)
	}
}

// The budget of one get over the socket is 1 ms. The mean tells of whatever else the
// machine does, the median less so.
func BenchmarkGet(b *testing.B) {
	c, _ := dial(b)
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if _, err := c.Get(b.Context(), "title"); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[0].Nanoseconds()), "min-ns")
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "median-ns")
}
