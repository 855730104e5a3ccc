package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errNoNamespaces means that the running kernel cannot give the tests a network:
// the one reason for which they may skip.
var errNoNamespaces = errors.New("this kernel has no network namespaces or no veth")

// netns is a network namespace without a name: one OS thread of this process
// holds it, so the kernel removes it, and all links in it, however the process
// ends. Look inside with nsenter -t TID -n.
type netns struct {
	tid  int
	work chan func()
}

func newNetns() (*netns, error) {
	ns := &netns{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread must not carry the namespace to another goroutine
		ns.tid = unix.Gettid()
		err := unix.Unshare(unix.CLONE_NEWNET)
		made <- err
		if err != nil {
			return
		}
		for f := range ns.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		if _, none := os.Stat("/proc/self/ns/net"); none != nil {
			return nil, errNoNamespaces
		}
		return nil, fmt.Errorf("making a network namespace: %w (the tests need root)", err)
	}
	return ns, nil
}

// do runs f on the namespace's thread: sockets and processes made by f belong
// to the namespace.
func (ns *netns) do(f func() error) error {
	done := make(chan error)
	ns.work <- func() { done <- f() }
	return <-done
}

// ip runs lines of iproute2 commands inside the namespace.
func (ns *netns) ip(lines ...string) error {
	return ns.do(func() error {
		cmd := exec.Command("ip", "-batch", "-")
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		out, err := cmd.CombinedOutput()
		if bytes.Contains(out, []byte("Unknown device type")) {
			return errNoNamespaces
		}
		if err != nil {
			return fmt.Errorf("ip -batch %q: %w: %s", lines, err, out)
		}
		return nil
	})
}

// listen opens a TCP listener at addr inside the namespace.
func (ns *netns) listen(addr string) (l net.Listener, err error) {
	err = ns.do(func() error {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

// dial connects to a literal address from inside the namespace.
func (ns *netns) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = ns.do(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// joinNamespaces makes two namespaces with a veth pair between them. The first
// gets .1 and ::1, the second .2 and ::2.
func joinNamespaces() (a, b *netns, err error) {
	if a, err = newNetns(); err != nil {
		return nil, nil, err
	}
	if b, err = newNetns(); err != nil {
		return nil, nil, err
	}
	// Not veth0: libnice has no use for interfaces of that name.
	// nodad: an address must be usable at once, there is nobody to collide with.
	if err = a.ip(
		fmt.Sprintf("link add eth0 type veth peer name eth0 netns %d", b.tid),
		"addr add 10.77.0.1/24 dev eth0",
		"addr add fd00:77::1/64 dev eth0 nodad",
		"link set eth0 up",
		"link set lo up",
	); err != nil {
		return nil, nil, err
	}
	return a, b, b.ip(
		"addr add 10.77.0.2/24 dev eth0",
		"addr add fd00:77::2/64 dev eth0 nodad",
		"link set eth0 up",
		"link set lo up",
		// Firefox gathers addresses by the default route.
		"route add default via 10.77.0.1",
		"route add default via fd00:77::1",
	)
}

// process is a program running in a namespace, in a process group of its own.
// Its output goes to a file, which is read only when a test has failed.
type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{}
}

// start launches argv in the namespace with env added to this process's own.
func (ns *netns) start(log string, env []string, argv ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	// The namespace's thread lives as long as this process, so Pdeathsig ends
	// the child even where no cleanup ran (a test timeout, a kill -9).
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := ns.do(cmd.Start); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// running tells whether the process has not exited yet.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// stop asks the process group to end and kills what is left of it after grace.
// It tells whether asking was enough.
func (p *process) stop(grace time.Duration) bool {
	group := -p.cmd.Process.Pid
	unix.Kill(group, unix.SIGTERM)
	polite := true
	select {
	case <-p.exited:
	case <-time.After(grace):
		polite = false
	}
	unix.Kill(group, unix.SIGKILL) // a group outlives its leader
	<-p.exited
	return polite
}

// tail returns the end of what the process printed.
func (p *process) tail() string {
	const most = 6000
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return string(b)
}
