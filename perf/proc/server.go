package proc

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"syscall"
	"time"
)

// stopGrace is how long a server may take to end after SIGTERM.
const stopGrace = 10 * time.Second

// Server is a server process of ours.
type Server struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Here starts a server where this process is.
func Here(start func() error) error { return start() }

// Start runs a command and returns when something listens on a TCP address, which must be free before. What the server prints goes
// to out. within calls the function that starts the process: on another thread when that is to be its place (lab.Lab.Within).
func Start(ctx context.Context, within func(start func() error) error, listen string, out io.Writer, command ...string) (*Server, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	// No server may outlive us, however we end. The signal follows the thread, and this program lets no thread end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := within(cmd.Start); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, done: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	if err := s.awaitListen(ctx, listen); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) awaitListen(ctx context.Context, listen string) error {
	for {
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s ended before it listened on %s: %w", s.cmd.Path, listen, s.err)
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w", s.cmd.Path, listen, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// PID is the process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop asks the server to end, and kills it when it does not.
func (s *Server) Stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(stopGrace):
		s.cmd.Process.Kill()
		<-s.done
	}
}

// FreeAddr is a loopback address with a port that was free a moment ago, for TCP and most likely for UDP.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
