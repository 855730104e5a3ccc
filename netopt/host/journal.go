package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sluice/netopt/tune"
)

// Journal is the file that knows what settings were before they were changed: a
// line for each change, on disk before the change is made, so that whatever ends
// the process, what it did can be undone.
//
// Values last until the machine restarts, and so does what the journal says: its
// first line names the start of the machine that it is about.
type Journal struct {
	file *os.File
	boot string
	past []Entry
}

// Entry is one change.
type Entry struct {
	Key tune.Key `json:"key"`
	Old string   `json:"old"`
	New string   `json:"new"`
}

// journalName is the journal's name in its directory.
const journalName = "journal"

// OpenJournal opens the journal in dir, which it makes, for this process alone.
// boot names the present start of the machine; what a journal says of another one
// is void. Since root does what the journal says, nobody else may have written it.
func OpenJournal(dir, boot string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := ours(dir); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, journalName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f, boot: boot}
	for _, step := range []func() error{
		func() error { return ours(name) },
		func() error { return lock(f) },
		func() error { return syncDir(dir) },
		j.read,
	} {
		if err := step(); err != nil {
			f.Close()
			return nil, err
		}
	}
	return j, nil
}

// ours refuses what another user could have written.
func ours(name string) error {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return fmt.Errorf("%s: must belong to the user who tunes, and nobody else may write it", name)
	}
	return nil
}

func lock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another process tunes now (%w)", f.Name(), err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// read reads what is there. The last line may be cut off: its change was not made.
func (j *Journal) read() error {
	b, err := io.ReadAll(j.file)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	lines := bytes.Split(bytes.TrimSuffix(b[:whole], []byte("\n")), []byte("\n"))
	var head struct{ Boot string }
	if whole == 0 || json.Unmarshal(lines[0], &head) != nil || head.Boot != j.boot {
		return j.begin()
	}
	for i, line := range lines[1:] {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil || e.Key == "" {
			return fmt.Errorf("%s: line %d is damaged: restart the machine, which brings back all it says, and remove it", j.file.Name(), i+2)
		}
		j.past = append(j.past, e)
	}
	return j.file.Truncate(int64(whole))
}

// begin starts an empty journal.
func (j *Journal) begin() error {
	j.past = nil
	if err := j.file.Truncate(0); err != nil {
		return err
	}
	return j.line(struct {
		Boot string `json:"boot"`
	}{j.boot})
}

func (j *Journal) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(b, '\n')); err != nil {
		return err
	}
	return j.file.Sync()
}

// Note writes down a change that is about to be made. When it returns nil, the
// change is on disk.
func (j *Journal) Note(e Entry) error {
	if err := j.line(e); err != nil {
		return err
	}
	j.past = append(j.past, e)
	return nil
}

// Changed returns the settings that were changed, the last one first, each with
// the value before its first change and the one after its last.
func (j *Journal) Changed() []Entry {
	var all []Entry
	at := map[tune.Key]int{}
	for _, e := range j.past {
		if i, ok := at[e.Key]; ok {
			all[i].New = e.New
			continue
		}
		at[e.Key] = len(all)
		all = append(all, e)
	}
	for i, k := 0, len(all)-1; i < k; i, k = i+1, k-1 {
		all[i], all[k] = all[k], all[i]
	}
	return all
}

// Clear forgets all changes.
func (j *Journal) Clear() error { return j.begin() }

// Close closes the journal.
func (j *Journal) Close() error { return j.file.Close() }

// BootID names the present start of this machine (random(4)).
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", errors.New("no boot_id: is /proc mounted?")
	}
	return string(bytes.TrimSpace(b)), nil
}
