package attrsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// Paths returns where the socket may be, the best first: where services keep
// theirs, and where a user who is logged in does (file-hierarchy(7)).
func Paths() []string {
	return []string{"/run/sluice/attr.sock", fmt.Sprintf("/run/user/%d/sluice/attr.sock", os.Getuid())}
}

// mode of the socket: the user and the group of the service speak to it.
const mode = 0o660

// ErrInUse is that another process serves a socket.
var ErrInUse = errors.New("another process serves it")

// Listen serves the socket at path, whose directory is made if it is not there.
// What a process left behind that has ended is replaced. Closing the listener
// removes the socket.
func Listen(path string) (net.Listener, error) {
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	lock, err := lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	// Under another name first: nobody can connect before the mode is right, and
	// rename replaces what is left of an earlier process.
	fresh := path + ".new"
	os.Remove(fresh)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		lock.Close()
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, mode), os.Rename(fresh, path)); err != nil {
		l.Close()
		lock.Close()
		return nil, err
	}
	return &listener{l, path, lock}, nil
}

// listener removes its socket before it lets another process have the lock.
type listener struct {
	*net.UnixListener
	path string
	lock *os.File
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *listener) Close() error {
	defer l.lock.Close()
	os.Remove(l.path)
	return l.UnixListener.Close()
}

// lock holds a file until it is closed, or the process ends.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			err = ErrInUse
		}
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return f, nil
}
