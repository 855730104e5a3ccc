package proc

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCounters(t *testing.T) {
	c, err := OpenCounters(os.Getpid())
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this machine has no counters of cycles and instructions")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		cycles, instructions, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		if cycles > 0 && instructions > 0 {
			return
		}
	}
}
