package proc

import (
	"os"
	"testing"
	"time"
)

func TestReadEffort(t *testing.T) {
	before, err := ReadEffort(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for {
		page := make([]byte, 1<<20)
		for i := range page {
			page[i] = 1
		}
		time.Sleep(time.Millisecond)
		after, err := ReadEffort(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if e := after.Sub(before); e.CPU.Total > 0 && e.Waits > 0 && e.Faults > 0 {
			return
		}
	}
}
