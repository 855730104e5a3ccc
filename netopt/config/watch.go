package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// An edit is several system calls: what happens within settle of each other is
// one change, and a change is applied after most even if it does not end.
const (
	settle = 50 * time.Millisecond
	most   = time.Second
)

// Watch keeps the tree at what the layers say until ctx ends. The error is that
// of inotify(7), without which the layers are what they were at Open.
func (c *Config) Watch(ctx context.Context) error {
	w, err := newWatcher()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { w.close() })()
	defer w.close()
	c.rescan(w) // what changed since Open
	for {
		overflow, err := w.next(settle, most)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("inotify: %w", err)
		}
		if overflow {
			c.overflowed()
		}
		c.rescan(w)
	}
}

// rescan reads all layers and applies them. Which file an event is about only
// matters while somebody writes it: then it says what it said before. Reading
// everything is cheap, and needs no second account of what is where.
func (c *Config) rescan(w *watcher) {
	const attempts = 8 // at writers who never pause
	var layers []layer
	for range attempts {
		layers = c.read(func(dir string) { c.watched(dir, w.add(dir)) })
		for _, dir := range c.options.Layers {
			c.watched(dir, w.addParent(dir))
		}
		again, overflow := w.drain()
		if overflow {
			c.overflowed()
		}
		if !again {
			break
		}
	}
	for i := range layers {
		c.keepOpen(i, &layers[i], w)
	}
	c.apply(layers)
	c.writeNotes()
}

// keepOpen gives the files of a layer that somebody is writing what they said
// before, if they were there.
func (c *Config) keepOpen(i int, l *layer, w *watcher) {
	for name, f := range l.files {
		if !w.writing(filepath.Join(c.options.Layers[i], name), f.text == "") {
			continue
		}
		if old, ok := c.layers[i].files[name]; ok {
			l.files[name] = old
		} else {
			delete(l.files, name)
		}
	}
}

func (c *Config) overflowed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures.overflows++
}

// watched tells why a directory is not watched, once.
func (c *Config) watched(dir string, err error) {
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, os.ErrClosed) || c.unwatched[dir] {
		return
	}
	c.unwatched[dir] = true
	why := err.Error()
	if errors.Is(err, unix.ENOSPC) {
		why = "no more watches: raise fs.inotify.max_user_watches"
	}
	c.options.Log.Warn("configuration directory is read at start only", "event", "config_unwatched", "directory", dir, "error", why)
}
