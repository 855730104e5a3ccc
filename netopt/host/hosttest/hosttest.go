// Package hosttest gives tests a kernel environment of their own.
package hosttest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// isolated is set in the environment of the process that Isolated starts.
const isolated = "SLUICE_TEST_NAMESPACE"

// Isolated reports whether the calling test runs in a process with the namespaces
// that flags say (CLONE_NEWNET, CLONE_NEWNS: namespaces(7)), as root there. Where
// it does not, Isolated runs it again in one, fails if it fails there, and the
// test should return.
func Isolated(t *testing.T, flags uintptr) bool {
	t.Helper()
	if os.Getenv(isolated) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), isolated+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}
