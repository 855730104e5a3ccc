// Package config is the persistent tree: plain directories with the paths of the
// attribute tree, one value a file, in layers, watched while the process runs.
//
// A stronger layer's file hides a weaker one's, the command line hides both. A
// file counts when what it says changes: it is then a write like that of any
// other face of the tree, so the last write wins, and deleting it brings back
// what the next layer says. A directory where the tree has a class makes an
// object, and its end removes it.
//
// What is not in effect is told in a file beside, NAME.err, which goes when the
// fault goes; names that end in .err belong to this package.
package config

import (
	"cmp"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"sluice/netopt/attr"
)

// Options of a persistent tree.
type Options struct {
	Tree   *attr.Tree
	Log    *slog.Logger
	Layers []string          // directories, the weakest first; one that does not exist holds nothing
	Held   map[string]string // what the command line sets, by path; whoever opens sets it after Open
}

// Config is a persistent tree. Its methods may be called from any goroutine.
type Config struct {
	options Options

	mu      sync.Mutex
	layers  []layer
	book    book
	figures figures
	tried   map[place]string // notes that could not be written, so that each is told once

	unwatched map[string]bool // directories of which that is told; Watch's alone
}

// figures are what the metrics count.
type figures struct {
	changes           [len(changeNames)]uint64
	overflows, unsaid uint64
}

// Open reads the layers and sets what they say in the tree, Boot attributes too
// if the tree is not frozen yet. What is wrong is logged and in Degraded: a box
// that starts on defaults can be repaired from afar.
func Open(o Options) *Config {
	c := &Config{options: o, tried: map[place]string{}, unwatched: map[string]bool{}, book: newBook(o.Tree, o.Held)}
	c.apply(c.read(func(string) {}))
	c.writeNotes()
	c.book.live = true
	o.Tree.Collect(c.collect)
	return c
}

// Degraded returns, one an entry, the files whose place a weaker value took when
// the process started. A file that is broken later changes nothing and is not
// among them: the last good value stays.
func (c *Config) Degraded() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for p, n := range c.book.notes {
		if n.fell {
			all = append(all, c.told(p, n))
		}
	}
	slices.Sort(all)
	return all
}

// told is a note as a line for people, whatever is in a file's name.
func (c *Config) told(p place, n note) string {
	name := strconv.Quote(filepath.Join(c.options.Layers[p.layer], p.name))
	return name[1:len(name)-1] + ": " + n.reason
}

// read reads all layers. visit gets the path of each directory before what is in
// it is read.
func (c *Config) read(visit func(dir string)) []layer {
	var layers []layer
	for _, dir := range c.options.Layers {
		layers = append(layers, readLayer(dir, visit))
	}
	return layers
}

// apply brings the tree and the notes to what the layers say.
func (c *Config) apply(layers []layer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.layers = layers
	before := c.book.notes
	done := c.book.update(layers)
	c.figures.changes[changeApplied] += uint64(len(done))
	if c.book.live { // at the start everything is new
		for _, what := range done {
			c.options.Log.Info("configuration", "event", "config_applied", "attribute", what)
		}
	}
	places := slices.SortedFunc(maps.Keys(c.book.notes), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.layer, b.layer), cmp.Compare(a.name, b.name))
	})
	for _, p := range places {
		n := c.book.notes[p]
		if before[p] == n {
			continue
		}
		if n.pending {
			c.figures.changes[changePending]++
			c.options.Log.Info("configuration", "event", "config_pending", "file", c.told(p, n))
		} else {
			c.figures.changes[changeRefused]++
			c.options.Log.Warn("configuration", "event", "config_refused", "error", c.told(p, n))
		}
	}
}

// writeNotes makes the .err files say what the notes say.
func (c *Config) writeNotes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, l := range c.layers {
		for name, text := range l.notes {
			if want, ok := c.book.notes[place{i, name}]; !ok || want.line() != text {
				c.note(place{i, name}, "")
			}
		}
	}
	for p, n := range c.book.notes {
		if c.layers[p.layer].notes[p.name] != n.line() {
			c.note(p, n.line())
		}
	}
}

// note writes one .err file, or removes it if it has nothing to say. Where that
// cannot be done, as on a read-only file system, the log has the reason anyway.
func (c *Config) note(p place, line string) {
	dir := c.options.Layers[p.layer]
	if err := writeNote(dir, p.name, line); err == nil {
		delete(c.tried, p)
	} else if was, ok := c.tried[p]; !ok || was != line {
		c.tried[p] = line
		c.figures.unsaid++
		c.options.Log.Info("configuration", "event", "config_note_unwritten", "file", filepath.Join(dir, p.name+noteSuffix), "error", err)
	}
}

func (c *Config) collect(s *attr.Sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range c.figures.changes {
		changesCounter.Add(s, i, n)
	}
	overflowsCounter.Add(s, c.figures.overflows)
	unsaidCounter.Add(s, c.figures.unsaid)
	for _, n := range c.book.notes {
		if n.pending {
			pendingGauge.Add(s, 1)
		} else {
			brokenGauge.Add(s, 1)
		}
	}
}
