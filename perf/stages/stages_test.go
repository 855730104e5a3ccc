package stages

import (
	"bytes"
	"runtime/pprof"
	"testing"
	"time"
)

func TestStageOf(t *testing.T) {
	for want, stack := range map[string][]string{
		"send":       {"syscall.RawSyscall6", "sluice/dataplane/internal/udp.(*Socket).Send", "sluice/dataplane/internal/shard.(*Shard).transmit"},
		"SRTP":       {"crypto/internal/fips140/aes/gcm.gcmAesEnc", "github.com/pion/srtp/v3.(*Context).EncryptRTP", "sluice/dataplane/engine.(*Engine).x"},
		"engine":     {"runtime.memmove", "sluice/dataplane/engine.(*Engine).x"},
		runtimeStage: {"runtime.scanobject", "runtime.gcBgMarkWorker"},
		otherStage:   {"main.main"},
	} {
		if got := stageOf(stack); got != want {
			t.Errorf("%v is %q, want %q", stack, got, want)
		}
	}
	if got := stageOf(nil); got != otherStage {
		t.Errorf("an empty stack is %q", got)
	}
}

// spend burns CPU time under a name that the test finds again.
func spend(until time.Time) (n int) {
	for time.Now().Before(until) {
		n++
	}
	return n
}

// TestParse reads a profile that the runtime itself wrote.
func TestParse(t *testing.T) {
	for length := 100 * time.Millisecond; ; length *= 2 {
		var b bytes.Buffer
		if err := pprof.StartCPUProfile(&b); err != nil {
			t.Fatal(err)
		}
		spend(time.Now().Add(length))
		pprof.StopCPUProfile()
		samples, err := parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			for _, f := range s.stack {
				if f == "sluice/perf/stages.spend" && s.value > 0 {
					return
				}
			}
		}
		// A busy machine gave us no sample: try for longer.
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte{0x0a, 2, 1, 2, 0x10, 5, 0x22, 0})
	f.Add([]byte{0x0a, 200, 1})
	f.Add([]byte{0x09, 1})
	f.Fuzz(func(_ *testing.T, b []byte) {
		p := profile{locations: map[uint64][]uint64{}, functions: map[uint64]uint64{}}
		if fields(b, p.field) == nil {
			p.resolve()
		}
	})
}
