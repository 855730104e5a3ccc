// Package lab is the network of a measurement of the sending side alone: the server in a network namespace of its own, joined by a
// pair of virtual interfaces to the one that this process is in, with a counting drop at the server's egress (package drop). What
// the server does for a discarded packet is what it does with a network card that splits trains; nothing of a receiver is in it.
package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/bpf/drop"
)

// The addresses of the lab. Viewers use two, so that the media of some can pass while that of the others is discarded.
var (
	Server  = netip.MustParseAddr("10.77.9.1")
	Viewers = netip.MustParseAddr("10.77.9.2")
	Sampled = netip.MustParseAddr("10.77.9.3")
)

// linkTime is how long a link may take to come up.
const linkTime = 5 * time.Second

// inside is set in the environment of a process that Enter has moved.
const inside = "SLUICE_PERF_LAB"

// Test is all of a TestMain whose tests use the lab; run is that of its testing.M. It does not return.
func Test(run func() int) {
	if err := Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(run())
}

// Enter makes sure that this process is in a network namespace of its own, with nothing but a loopback interface: it starts the
// program again in one, waits for it and exits as it did. It returns in the process started so. Call it first in main: a namespace
// belongs to a thread, and only at exec are all of a Go program's threads one. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
func Enter() error {
	if os.Getenv(inside) != "" {
		return ip("link set lo up")
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("network namespace (needs root): %w", err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return nil
}

// Lab is the server's side of the network. Its methods are not safe for concurrent use.
type Lab struct {
	*drop.Drop
	work chan func()
}

// Open makes the server's namespace. The calling process must have passed Enter.
func Open() (*Lab, error) {
	l := &Lab{work: make(chan func())}
	if err := l.unshare(); err != nil {
		return nil, err
	}
	err := l.join()
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// unshare starts the thread that holds the namespace; the kernel removes it, and all in it, when the thread ends.
func (l *Lab) unshare() error {
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread must not carry the namespace elsewhere
		err := unix.Unshare(unix.CLONE_NEWNET)
		made <- err
		if err != nil {
			return
		}
		for f := range l.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		return fmt.Errorf("network namespace (needs root): %w", err)
	}
	return nil
}

// Within runs f on the namespace's thread: sockets and processes that f makes belong to the server's side.
func (l *Lab) Within(f func() error) error {
	done := make(chan error)
	l.work <- func() { done <- f() }
	return <-done
}

func (l *Lab) join() error {
	var tid int
	l.Within(func() error { tid = unix.Gettid(); return nil })
	if err := ip(
		fmt.Sprintf("link add lan0 type veth peer name lan0 netns %d", tid),
		fmt.Sprintf("addr add %s/24 dev lan0", Viewers),
		fmt.Sprintf("addr add %s/24 dev lan0", Sampled),
		"link set lan0 up",
	); err != nil {
		return err
	}
	return l.Within(func() error {
		if err := ip(fmt.Sprintf("addr add %s/24 dev lan0", Server), "link set lo up", "link set lan0 up"); err != nil {
			return err
		}
		nic, err := running("lan0")
		if err != nil {
			return err
		}
		l.Drop, err = drop.Attach(nic.Index)
		return err
	})
}

// running waits until an interface is up and its link too, which the kernel says a moment later: Janus passes over those that are not.
func running(name string) (nic *net.Interface, err error) {
	for deadline := time.Now().Add(linkTime); ; time.Sleep(time.Millisecond) {
		nic, err = net.InterfaceByName(name)
		switch {
		case err != nil:
			return nil, err
		case nic.Flags&net.FlagRunning != 0:
			return nic, nil
		case time.Now().After(deadline):
			return nil, fmt.Errorf("the link of %s does not come up", name)
		}
	}
}

// Close removes the namespace and the drop. Processes in it must have ended.
func (l *Lab) Close() error {
	close(l.work)
	err := error(nil)
	if l.Drop != nil {
		err = l.Drop.Close()
	}
	return errors.Join(err, ip("link del lan0"))
}

// ip runs lines of iproute2 commands in the namespace of the calling thread.
func ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -batch %q: %w: %s", lines, err, out)
	}
	return nil
}
