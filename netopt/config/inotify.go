package config

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What is watched in a directory (inotify(7)). A file counts when its writer
// closes it or moves it here; IN_MODIFY tells that somebody is still writing.
const (
	watched = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	watchedParent = unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
)

// watcher tells when something in directories may have changed, and which files
// somebody is writing. It belongs to one goroutine.
type watcher struct {
	f    *os.File
	dirs map[int32]watch
	open map[string]bool // files that are being written: true if something was, false if they were made only
}

// watch is what one watch descriptor watches.
type watch struct {
	dir  string
	only string // the one name that counts, "" for all
}

// event is one struct inotify_event.
type event struct {
	wd   int32
	mask uint32
	name string
}

// newWatcher returns a watcher of nothing yet.
func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &watcher{os.NewFile(uintptr(fd), "inotify"), map[int32]watch{}, map[string]bool{}}, nil
}

// add watches a directory, and does nothing for one that is watched. One that is
// not there is no error: it is added again when its parent changed.
func (w *watcher) add(dir string) error { return w.watch(dir, watched, "") }

// addParent watches for the coming and going of dir itself, in the directory that
// it lies in, or the nearest one above that exists.
func (w *watcher) addParent(dir string) error {
	for dir != filepath.Dir(dir) {
		parent := filepath.Dir(dir)
		err := w.watch(parent, watchedParent, filepath.Base(dir))
		if !errors.Is(err, unix.ENOENT) {
			return err
		}
		dir = parent
	}
	return nil
}

func (w *watcher) watch(dir string, mask uint32, only string) error {
	conn, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var added error
	err = conn.Control(func(fd uintptr) {
		var wd int
		// IN_MASK_ADD: a directory may be one layer and the parent of another.
		wd, added = unix.InotifyAddWatch(int(fd), dir, mask|unix.IN_MASK_ADD)
		if added == nil {
			if old, ok := w.dirs[int32(wd)]; ok && old.only != only {
				only = ""
			}
			w.dirs[int32(wd)] = watch{dir, only}
		}
	})
	if err != nil {
		return err
	}
	return added
}

// next waits until something that counts has happened, and then until nothing has
// for the time of settle, but no longer than most. overflow reports that more
// happened than the kernel could tell.
func (w *watcher) next(settle, most time.Duration) (overflow bool, err error) {
	var quiet, last time.Time // zero: nothing has happened
	for {
		if err := w.f.SetReadDeadline(quiet); err != nil {
			return overflow, err
		}
		var b [eventBytes]byte
		n, err := w.f.Read(b[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return overflow, nil
		}
		if err != nil {
			return overflow, err
		}
		wake, over := w.take(parseEvents(b[:n]))
		overflow = overflow || over
		if !wake && quiet.IsZero() {
			continue
		}
		now := time.Now()
		if last.IsZero() {
			last = now.Add(most)
		}
		if quiet = now.Add(settle); quiet.After(last) {
			quiet = last
		}
	}
}

// drain takes what has happened up to now, and reports whether any of it counts.
func (w *watcher) drain() (wake, overflow bool) {
	conn, err := w.f.SyscallConn()
	if err != nil {
		return false, false
	}
	w.f.SetReadDeadline(time.Time{})
	conn.Read(func(fd uintptr) bool {
		for {
			var b [eventBytes]byte
			n, err := unix.Read(int(fd), b[:])
			if err != nil {
				return true // EAGAIN
			}
			more, over := w.take(parseEvents(b[:n]))
			wake, overflow = wake || more, overflow || over
		}
	})
	return wake, overflow
}

// writing reports whether somebody is writing the file at path, whose content is
// empty or not as it was read: made and still empty is the begin of a file, made
// and not empty is a link to one.
func (w *watcher) writing(path string, empty bool) bool {
	written, open := w.open[path]
	return open && (written || empty)
}

// take notes what events say, and reports whether any can change what the
// directories say.
func (w *watcher) take(events []event) (wake, overflow bool) {
	for _, e := range events {
		switch {
		case e.mask&unix.IN_Q_OVERFLOW != 0:
			clear(w.open) // who closed what is lost
			wake, overflow = true, true
		case e.mask&unix.IN_IGNORED != 0:
			delete(w.dirs, e.wd)
		default:
			wake = w.takeOne(e) || wake
		}
	}
	return wake, overflow
}

func (w *watcher) takeOne(e event) (wake bool) {
	in, ok := w.dirs[e.wd]
	if !ok || in.only != "" && e.name != "" && e.name != in.only {
		return false
	}
	path := filepath.Join(in.dir, e.name)
	switch {
	case e.mask&unix.IN_ISDIR != 0 && e.mask&(unix.IN_MOVED_FROM|unix.IN_DELETE) != 0:
		maps.DeleteFunc(w.open, func(p string, _ bool) bool { return strings.HasPrefix(p, path+"/") })
	case e.mask&unix.IN_ISDIR != 0:
	case e.mask&unix.IN_CREATE != 0:
		w.open[path] = false
	case e.mask&unix.IN_MODIFY != 0:
		w.open[path] = true
		return false // its close is what counts
	case e.mask&(unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM|unix.IN_DELETE) != 0:
		delete(w.open, path)
	}
	return !strings.HasSuffix(e.name, noteSuffix) // those are ours
}

func (w *watcher) close() error { return w.f.Close() }

// eventBytes is room for many events; one is at most 16+NAME_MAX+1 bytes.
const eventBytes = 16 << 10

// parseEvents reads what the kernel wrote. It stops at what no kernel writes.
func parseEvents(b []byte) (events []event) {
	for len(b) >= unix.SizeofInotifyEvent {
		size := binary.NativeEndian.Uint32(b[12:])
		rest := b[unix.SizeofInotifyEvent:]
		if uint64(size) > uint64(len(rest)) {
			break
		}
		name, _, _ := bytes.Cut(rest[:size], []byte{0})
		events = append(events, event{int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]), string(name)})
		b = rest[size:]
	}
	return events
}
