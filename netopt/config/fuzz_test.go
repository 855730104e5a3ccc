package config

import (
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/netopt/attr"
)

// Whatever a file is called and a link points to, what is set is an attribute
// whose path is the file's name below the layer, and nothing outside the layer is
// read or changed.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		"title", "plane/mtu_bytes", "plane//mtu_bytes", "../title", "plane/../title", "./title", "..", ".", "title.err", ".title.err", "x.err/title",
		"title~", "#title#", "4913", "title\n", "ti\xfftle", "a\x01b", strings.Repeat("a", 255), strings.Repeat("a/", 60) + "b", "TITLE", "title/title",
	} {
		f.Add(name, "1300", "")
		f.Add(name, "1300", "../outside/title")
		f.Add(name, "\x00", "title")
	}
	f.Fuzz(func(t *testing.T, name, text, link string) {
		root := t.TempDir()
		layer, outside := filepath.Join(root, "layer"), filepath.Join(root, "outside")
		for _, dir := range []string{layer, outside} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(outside+"/title", []byte("out of bounds"), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := os.OpenRoot(layer)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.MkdirAll(path.Dir(name), 0o755)
		if link == "" {
			r.WriteFile(name, []byte(text), 0o644)
		} else {
			r.Symlink(link, name)
		}
		tree := attr.NewTree(&table, &Attrs)
		c := Open(Options{Tree: tree, Log: slog.New(slog.DiscardHandler), Layers: []string{layer}})
		for p := range c.layers[0].files {
			if p != "." && !filepath.IsLocal(p) || path.Clean(p) != p {
				t.Errorf("a file is called %q", p)
			}
		}
		tree.Walk("", func(d *attr.Decl, value string) {
			if d.Kind.Metric() || value == strings.Join(strings.Fields(d.Initial()), "\n") || value == d.Initial() {
				return
			}
			if d.Path != path.Clean(name) || value == "out of bounds" {
				t.Errorf("%q set %s to %q", name, d.Path, value)
			}
		})
		filepath.WalkDir(outside, func(p string, entry fs.DirEntry, err error) error {
			if p != outside && entry.Name() != "title" {
				t.Errorf("%q made %s", name, p)
			}
			return err
		})
	})
}

// Bytes that no kernel writes do no harm either.
func FuzzEvents(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 'a', 'b', 0, 0})
	f.Add([]byte{1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		events := parseEvents(b)
		if len(events) > len(b)/unix.SizeofInotifyEvent {
			t.Errorf("%d events in %d bytes", len(events), len(b))
		}
		w := &watcher{dirs: map[int32]watch{1: {"/etc/sluice", ""}, 2: {"/etc", "sluice"}}, open: map[string]bool{}}
		w.take(events)
		for p := range w.open {
			if p != "/etc" && !strings.HasPrefix(p, "/etc/") && !strings.ContainsRune(p, '.') {
				t.Errorf("%q is open", p)
			}
		}
	})
}
