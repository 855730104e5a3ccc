package host

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"sluice/netopt/ethtool"
	"sluice/netopt/tune"
)

// Result is what became of one setting.
type Result struct {
	Entry
	Got string // what the setting is now
	Err error  // why it could not be set
}

// Unsupported reports that the device shows the setting and lets nobody set it, as
// virtual ones do.
func (r Result) Unsupported() bool { return errors.Is(r.Err, ethtool.ErrUnsupported) }

// Apply carries out the changes of a plan, each noted in the journal before it is
// made. It goes on after a setting that cannot be set, and ends where the journal
// cannot be written.
func Apply(m *Machine, j *Journal, plan []tune.Row) ([]Result, error) {
	var results []Result
	for _, row := range plan {
		if row.Verdict != tune.Change {
			continue
		}
		// The plan may be old, and what is undone must be what is there now.
		old, err := m.Get(row.Key)
		if err != nil {
			results = append(results, Result{Entry{row.Key, row.Old, row.New}, row.Old, err})
			continue
		}
		e := Entry{row.Key, old, row.New}
		if err := j.Note(e); err != nil {
			return results, err
		}
		got, err := m.Set(e.Key, e.New)
		results = append(results, Result{e, got, err})
	}
	return results, nil
}

// Undo gives every setting in the journal its former value, and empties the
// journal if all went well. What a setting was between makes no difference.
func Undo(m *Machine, j *Journal) ([]Result, error) {
	var results []Result
	var failed error
	for _, e := range j.Changed() {
		r := Result{Entry: Entry{e.Key, e.New, e.Old}}
		now, err := m.Get(e.Key)
		if err == nil && now != e.Old {
			now, err = m.Set(e.Key, e.Old)
		}
		if err == nil && now != e.Old {
			err = fmt.Errorf("the kernel made it %s", now)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			now, err = "gone", nil // with its device
		}
		r.Got, r.Err = now, err
		failed = errors.Join(failed, err)
		results = append(results, r)
	}
	if failed != nil {
		return results, nil // the journal keeps what is still to do
	}
	return results, j.Clear()
}
