package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything may take before a test gives up on it.
const patience = 20 * time.Second

func watching(t *testing.T) *watcher {
	t.Helper()
	w, err := newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.close() })
	return w
}

// live starts watching and returns a function that waits until an attribute has
// a value.
func (c *tested) live() (await func(path, want string)) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Watch(ctx) }()
	c.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			c.Error(err)
		}
	})
	changed := make(chan struct{}, 1)
	c.Cleanup(c.tree.Watch("", func(string, string) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}))
	return func(path, want string) {
		c.Helper()
		for over := time.After(patience); ; {
			if got, _ := c.tree.Get(path); got == want {
				return
			}
			select {
			case <-changed:
			case <-over:
				got, err := c.tree.Get(path)
				c.Fatalf("%s is %q (%v), want %q\n%s", path, got, err, want, c.log.String())
			}
		}
	}
}

// wakes waits until the watcher tells of something, and checks what is in effect
// then.
func (c *tested) wakes(w *watcher, path, want string) {
	c.Helper()
	defer time.AfterFunc(patience, func() { w.close() }).Stop()
	if _, err := w.next(settle, most); err != nil {
		c.Fatal(err)
	}
	c.rescan(w)
	c.has(path, want)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// create opens a file as creat(2) does.
func create(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	return f
}

func text(t *testing.T, f *os.File, s string) {
	t.Helper()
	_, err := f.WriteString(s)
	must(t, err)
}

// The ways in which programs change a file, as sequences of system calls. After
// each step that is a pause, what is in effect is as given; the last is 1400.
func TestEdits(t *testing.T) {
	for name, edit := range map[string]func(t *testing.T, file string, sees func(want string)){
		"truncate and write": func(t *testing.T, file string, sees func(string)) { // echo 1400 > file
			f := create(t, file)
			sees("1300")
			text(t, f, "1400\n")
			sees("1300")
			must(t, f.Close())
		},
		"two writes": func(t *testing.T, file string, sees func(string)) {
			f := create(t, file)
			text(t, f, "14")
			sees("1300")
			text(t, f, "00")
			sees("1300")
			must(t, f.Close())
		},
		"another file is written meanwhile": func(t *testing.T, file string, sees func(string)) {
			f := create(t, file)
			text(t, f, "9") // were it read now, it would be refused
			put(t, filepath.Dir(file)+"/shards", "0")
			sees("1300")
			text(t, f, "00")
			sees("1300")
			text(t, f, "0")
			must(t, f.Close())
			sees("9000")
			put(t, file, "1400")
		},
		"temporary file and rename": func(t *testing.T, file string, sees func(string)) { // sed -i, ansible, this package
			temp := filepath.Dir(file) + "/sedX8a1Bc"
			f := create(t, temp)
			text(t, f, "1400\n")
			sees("1300")
			must(t, f.Close(), os.Rename(temp, file))
		},
		"rename away and write anew": func(t *testing.T, file string, sees func(string)) { // vi with backupcopy=no
			probe := create(t, filepath.Dir(file)+"/4913")
			must(t, probe.Close(), os.Remove(probe.Name()), os.Rename(file, file+"~"))
			f := create(t, file)
			sees("1300")
			text(t, f, "1400\n")
			must(t, f.Sync())
			sees("1300")
			must(t, f.Close(), os.Remove(file+"~"))
		},
		"copy away and write in place": func(t *testing.T, file string, sees func(string)) { // vi with backupcopy=yes, nano -B
			put(t, file+"~", "1300\n")
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			must(t, err)
			text(t, f, "1400\n")
			sees("1300")
			must(t, f.Truncate(5), f.Close(), os.Remove(file+"~"))
		},
		"lock link and rename": func(t *testing.T, file string, sees func(string)) { // emacs
			lock := filepath.Dir(file) + "/.#mtu_bytes"
			must(t, os.Symlink("ops@host.1:2", lock))
			put(t, filepath.Dir(file)+"/#mtu_bytes#", "14")
			sees("1300")
			must(t, os.Rename(file, file+"~"))
			put(t, file, "1400\n")
			must(t, os.Remove(lock), os.Remove(filepath.Dir(file)+"/#mtu_bytes#"))
		},
		"unnamed file and link": func(t *testing.T, file string, sees func(string)) { // O_TMPFILE, linkat, renameat
			fd, err := unix.Open(filepath.Dir(file), unix.O_TMPFILE|unix.O_WRONLY, 0o644)
			must(t, err)
			f := os.NewFile(uintptr(fd), "unnamed")
			text(t, f, "1400\n")
			sees("1300")
			temp := filepath.Dir(file) + "/.new"
			must(t, unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, temp, unix.AT_SYMLINK_FOLLOW), os.Rename(temp, file), f.Close())
		},
		"unnamed file linked in place": func(t *testing.T, file string, sees func(string)) {
			fd, err := unix.Open(filepath.Dir(file), unix.O_TMPFILE|unix.O_WRONLY, 0o644)
			must(t, err)
			f := os.NewFile(uintptr(fd), "unnamed")
			text(t, f, "1400\n")
			must(t, os.Remove(file), unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, file, unix.AT_SYMLINK_FOLLOW), f.Close())
		},
		"remove and hard link": func(t *testing.T, file string, sees func(string)) { // ln -f
			temp := filepath.Dir(file) + "/.other"
			put(t, temp, "1400\n")
			must(t, os.Remove(file), os.Link(temp, file))
		},
		"exchange": func(t *testing.T, file string, sees func(string)) { // RENAME_EXCHANGE
			temp := filepath.Dir(file) + "/.other"
			put(t, temp, "1400\n")
			must(t, unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, file, unix.RENAME_EXCHANGE))
		},
		"link to another file": func(t *testing.T, file string, sees func(string)) { // ln -sf
			put(t, filepath.Dir(file)+"/.v2", "1400\n")
			must(t, os.Remove(file), os.Symlink(".v2", file))
		},
		"directory exchanged": func(t *testing.T, file string, sees func(string)) {
			put(t, filepath.Dir(file)+".tmpdir/mtu_bytes", "1400\n")
			must(t, unix.Renameat2(unix.AT_FDCWD, filepath.Dir(file)+".tmpdir", unix.AT_FDCWD, filepath.Dir(file), unix.RENAME_EXCHANGE))
			must(t, os.RemoveAll(filepath.Dir(file)+".tmpdir"))
		},
		"whole tree replaced": func(t *testing.T, file string, sees func(string)) { // rsync --delay-updates, ostree
			root := filepath.Dir(filepath.Dir(file))
			must(t, os.Rename(root, root+".old"))
			put(t, file, "1400\n")
		},
		"appended": func(t *testing.T, file string, sees func(string)) {
			f := create(t, file)
			text(t, f, "14")
			must(t, f.Close())
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			text(t, f, "00")
			sees("1300")
			must(t, f.Close())
		},
		"made readable": func(t *testing.T, file string, sees func(string)) {
			must(t, os.Remove(file))
			put(t, file, "1400\n")
			must(t, os.Chmod(file, 0), os.Chmod(file, 0o644))
		},
		"touched, read, listed": func(t *testing.T, file string, sees func(string)) {
			_, err := os.ReadFile(file)
			now := time.Now()
			must(t, err, os.Chtimes(file, now, now))
			_, err = os.ReadDir(filepath.Dir(file))
			must(t, err)
			sees("1300")
			put(t, file, "1400")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "etc")
			file := dir + "/plane/mtu_bytes"
			put(t, file, "1300\n")
			c := open(t, dir)
			w := watching(t)
			c.rescan(w)
			edit(t, file, func(want string) {
				t.Helper()
				c.rescan(w)
				c.has("plane/mtu_bytes", want)
			})
			c.wakes(w, "plane/mtu_bytes", "1400")
			c.counts("broken_files", "0")
			if strings.Contains(c.log.String(), "config_refused") {
				t.Error("half a file was taken for a whole one")
			}
			if t.Failed() {
				t.Log(c.log.String())
			}
		})
	}
}

// The programs themselves, as far as they are here.
func TestEditors(t *testing.T) {
	for _, script := range []string{
		`sed -i s/1300/1400/ mtu_bytes`,
		`printf ',s/1300/1400/\nw\nq\n' | ed -s mtu_bytes`,
		`vim -Nu NONE -es -c 's/1300/1400/' -c 'set backupcopy=no' -c wq mtu_bytes`,
		`vim -Nu NONE -es -c 's/1300/1400/' -c 'set backup backupcopy=yes' -c wq mtu_bytes`,
		`perl -pi -e s/1300/1400/ mtu_bytes`,
		`echo 1400 | tee mtu_bytes`,
		`echo 1400 > .x && mv .x mtu_bytes`,
		`echo 1400 > x.tmp && install -m 644 x.tmp mtu_bytes`,
		`echo 1400 > x.tmp && cp --remove-destination x.tmp mtu_bytes`,
		`echo 1400 | dd of=mtu_bytes bs=1 status=none`,
	} {
		t.Run(strings.Fields(script)[0], func(t *testing.T) {
			for _, tool := range []string{"sed", "ed", "vim", "perl"} {
				if _, err := exec.LookPath(tool); strings.Contains(script, tool+" ") && err != nil {
					t.Skip(err)
				}
			}
			dir := write(t, map[string]string{"plane/mtu_bytes": "1300\n"})
			c := open(t, dir)
			var seen []string
			t.Cleanup(c.tree.Watch("plane/mtu_bytes", func(_, v string) { seen = append(seen, v) }))
			await := c.live()
			cmd := exec.Command("sh", "-c", script)
			cmd.Dir = dir + "/plane"
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			await("plane/mtu_bytes", "1400")
			if !slices.Equal(seen, []string{"1400"}) {
				t.Errorf("went through %q", seen)
			}
			c.counts("changes", "applied 2\npending 0\nrefused 0")
		})
	}
}

// A value comes, is refused, mended, and goes: what the layers below say comes
// back, and the note goes with the fault.
func TestLife(t *testing.T) {
	vendor, admin := write(t, map[string]string{"title": "vendor"}), filepath.Join(t.TempDir(), "not/yet/there")
	c := open(t, vendor, admin)
	w := watching(t)
	step := func(want string) { t.Helper(); c.wakes(w, "title", want) }
	c.rescan(w)
	c.has("title", "vendor")
	must(t, os.MkdirAll(filepath.Dir(admin), 0o755))
	step("vendor")
	put(t, admin+"/title", "admin")
	step("admin")
	put(t, admin+"/title", "bad\x00")
	step("admin")
	c.err(admin+"/title", "byte 3 (0x00) is not printable ASCII")
	c.counts("broken_files", "1")
	if d := c.Degraded(); d != nil {
		t.Errorf("the last good value is in effect, and yet: %q", d)
	}
	put(t, vendor+"/title", "vendor 2")
	step("admin")
	put(t, admin+"/title", "better")
	step("better")
	c.err(admin+"/title", "")
	c.counts("broken_files", "0")
	must(t, os.Remove(admin+"/title"))
	step("vendor 2")
	must(t, os.RemoveAll(vendor))
	step("Sluice")
	put(t, vendor+"/title", "vendor 3")
	step("vendor 3")
	if d := c.Degraded(); d != nil {
		t.Error(d)
	}
}

// What was broken at the start is degraded until it is mended.
func TestDegradedEnds(t *testing.T) {
	dir := write(t, map[string]string{"title": "bad\x00", "plane/mtu_bytes": "x"})
	c := open(t, dir)
	w := watching(t)
	put(t, dir+"/title", "worse\x01")
	c.rescan(w)
	if d := c.Degraded(); len(d) != 2 {
		t.Error(d)
	}
	put(t, dir+"/title", "good")
	must(t, os.Remove(dir+"/plane/mtu_bytes"))
	c.rescan(w)
	if d := c.Degraded(); d != nil {
		t.Error(d)
	}
	c.has("title", "good", "plane/mtu_bytes", "1200")
}

// Boot attributes wait for the next start, and say so.
func TestBootAttributesWait(t *testing.T) {
	dir := write(t, map[string]string{"plane/shards": "4"})
	c := open(t, dir)
	w := watching(t)
	for _, step := range []struct{ text, note, pending, broken string }{
		{"8\n", "takes effect at the next start", "1", "0"},
		{"99", "99 is out of range 0..64", "0", "1"},
		{"4", "", "0", "0"},
	} {
		put(t, dir+"/plane/shards", step.text)
		c.rescan(w)
		c.has("plane/shards", "4")
		c.err(dir+"/plane/shards", step.note)
		c.counts("pending_files", step.pending, "broken_files", step.broken)
	}
	must(t, os.Remove(dir+"/plane/shards"))
	c.rescan(w)
	c.has("plane/shards", "4")
	if d := c.Degraded(); d != nil {
		t.Error(d)
	}
}

// A value from another face stays until its file says something new.
func TestLastWriteWins(t *testing.T) {
	dir := write(t, map[string]string{"title": "file"})
	c := open(t, dir)
	w := watching(t)
	must(t, c.tree.Set("title", "runtime"), c.tree.Set("plane/mtu_bytes", "1300"))
	put(t, dir+"/plane/shards", "0")
	put(t, dir+"/title", "file\n")
	c.rescan(w)
	c.has("title", "runtime", "plane/mtu_bytes", "1300")
	put(t, dir+"/title", "file 2")
	c.rescan(w)
	c.has("title", "file 2")
}

// More events than the kernel keeps: all is read again.
func TestOverflow(t *testing.T) {
	dir := write(t, map[string]string{"title": "a"})
	c := open(t, dir)
	w := watching(t)
	c.rescan(w)
	f := create(t, dir+"/title")
	text(t, f, "b")
	c.rescan(w)
	c.has("title", "a")
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	var most int
	fmt.Sscan(string(limit), &most)
	for range most/2 + 2 { // two events each, and no two alike in a row
		must(t, unix.Mkdir(dir+"/.d", 0o755), unix.Rmdir(dir+"/.d"))
	}
	must(t, f.Close()) // nobody hears of this
	overflow, err := w.next(settle, time.Second)
	if !overflow || err != nil {
		t.Fatalf("no overflow (%v)", err)
	}
	c.rescan(w)
	c.has("title", "b")
	put(t, dir+"/title", "c")
	if _, err := w.next(settle, time.Second); err != nil {
		t.Fatal(err)
	}
	c.rescan(w)
	c.has("title", "c")
}

// Reading it live, with everything at once: the end is what counts.
func TestWatch(t *testing.T) {
	root := t.TempDir()
	dir := root + "/etc"
	c := open(t, dir)
	await := c.live()
	put(t, dir+"/title", "one")
	await("title", "one")
	put(t, dir+"/plane/mtu_bytes", "bad")
	put(t, dir+"/title", "two")
	await("title", "two")
	put(t, dir+"/plane/mtu_bytes", "1300")
	await("plane/mtu_bytes", "1300")
	must(t, os.Rename(dir, root+"/elsewhere"))
	await("title", "Sluice")
	must(t, os.Symlink("elsewhere", dir))
	await("plane/mtu_bytes", "1300")
	must(t, os.Remove(dir))
	await("plane/mtu_bytes", "1200")
}

func TestNoWatchesLeft(t *testing.T) {
	c := open(t, "/etc/none")
	c.watched("/etc/none", unix.ENOSPC)
	c.watched("/etc/none", unix.ENOSPC)
	if log := c.log.String(); strings.Count(log, "max_user_watches") != 1 {
		t.Error(log)
	}
}

// Objects come and go with their directories, and what another face removed
// stays away.
func TestObjectsLive(t *testing.T) {
	dir := write(t, map[string]string{"lines/one/title": "1"})
	c := open(t, dir)
	w := watching(t)
	c.rescan(w)
	is := func(names ...string) {
		t.Helper()
		c.rescan(w)
		if got := lines.Objects(c.tree); !slices.Equal(got, names) {
			t.Errorf("objects: %v, want %v", got, names)
		}
		if d := c.Degraded(); d != nil || strings.Contains(c.log.String(), "refused") {
			t.Error(d, c.log.String())
		}
	}
	is("one")
	must(t, os.Mkdir(dir+"/lines/two", 0o755))
	is("one", "two")
	put(t, dir+"/lines/two/title", "2")
	is("one", "two")
	c.has("lines/two/title", "2")
	must(t, os.Rename(dir+"/lines/two", dir+"/lines/three"))
	is("one", "three")
	c.has("lines/three/title", "2")
	must(t, os.RemoveAll(dir+"/lines/three"))
	is("one")
	must(t, c.tree.Rmdir("lines/one"))
	put(t, dir+"/title", "x")
	is()
	must(t, c.tree.Mkdir("lines/one"))
	is("one")
	c.has("lines/one/title", "")
	put(t, dir+"/lines/one/title", "uno")
	is("one")
	c.has("lines/one/title", "uno")
	must(t, os.RemoveAll(dir))
	is()
}
