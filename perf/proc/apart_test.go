package proc

import (
	"bytes"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestApart(t *testing.T) {
	var before, during, after unix.CPUSet
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.SchedGetaffinity(0, &before)
	if before.Count() < 2 {
		t.Skip("this machine has one processor")
	}
	apart, together, err := Apart(Here)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("nproc")
	cmd.Stdout = &out
	if err := apart(cmd.Start); err != nil {
		t.Fatal(err)
	}
	unix.SchedGetaffinity(0, &during)
	if err := cmd.Wait(); err != nil || strings.TrimSpace(out.String()) != "1" {
		t.Errorf("the process has %q processors, %v", out.String(), err)
	}
	if during.Count() != before.Count()-1 || during.IsSet(last(&before)) {
		t.Errorf("of %d processors we have %d", before.Count(), during.Count())
	}
	if err := together(); err != nil {
		t.Fatal(err)
	}
	if unix.SchedGetaffinity(0, &after); after != before {
		t.Errorf("afterwards we have %d processors of %d", after.Count(), before.Count())
	}
}
