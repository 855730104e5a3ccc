package arena

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const size = 1 << 20

// flags returns the kernel's flags of the mapping that holds memory (proc(5),
// smaps), nil if there is none.
func flags(t *testing.T, memory []byte) []string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at, within := uint64(address(memory)), false
	for line := range strings.Lines(string(smaps)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			within = from <= at && at+uint64(len(memory)) <= to
		}
		if list, ok := strings.CutPrefix(line, "VmFlags:"); ok && within {
			return strings.Fields(list)
		}
	}
	return nil
}

// Nothing in an arena is in a core dump ("dd"), and where the process may lock
// memory, nothing is swapped ("lo").
func TestKeysStayInMemory(t *testing.T) {
	memory, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	defer Free(memory)
	if len(memory) != size || slices.ContainsFunc(memory, func(b byte) bool { return b != 0 }) {
		t.Errorf("%d bytes, or not zeroed", len(memory))
	}
	have := flags(t, memory)
	if !slices.Contains(have, "dd") {
		t.Errorf("a core dump would hold it: %v", have)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= 2*size && !slices.Contains(have, "lo") {
		t.Errorf("it could be swapped: %v", have)
	}
}

// What is not touched takes no room, locked or not.
func TestUntouchedPagesTakeNoRoom(t *testing.T) {
	memory, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	defer Free(memory)
	page := os.Getpagesize()
	memory[3*page] = 1
	resident := make([]byte, size/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, address(memory), size, address(resident)); errno != 0 {
		t.Fatal(errno)
	}
	for i, r := range resident {
		if in := r&1 != 0; in != (i == 3) {
			t.Fatalf("page %d in memory: %v", i, in)
		}
	}
}

func TestFree(t *testing.T) {
	memory, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	if err := Free(memory); err != nil {
		t.Error(err)
	}
	if have := flags(t, memory); slices.Contains(have, "dd") {
		t.Errorf("still there: %v", have)
	}
}

func TestNewRefuses(t *testing.T) {
	if memory, err := New(1 << 60); err == nil {
		t.Errorf("got %d bytes", len(memory))
	}
}
