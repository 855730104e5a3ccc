//go:build amd64

package main

import (
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

//go:noinline
func begin() {}

//go:noinline
func end() {}

//go:noinline
func work(n int) (sum int) {
	for i := range n {
		sum += i * sum
	}
	return sum
}

// rounds is what the traced process does.
func rounds() {
	for i := range 4 {
		begin()
		work(100 * (i + 1))
		end()
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("TRACED") != "" {
		rounds()
		return
	}
	os.Exit(m.Run())
}

// A round costs the same instructions each time, those of the loop among them, and nothing of another round is counted.
func TestTrace(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := func(f func()) uint64 { return uint64(reflect.ValueOf(f).Pointer()) }
	from, to := address(begin), address(end)
	count := func(nth int) (sum uint64) {
		cmd := exec.Command(binary)
		cmd.Env = append(os.Environ(), "TRACED=1", "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
		path, err := trace(cmd, from, to, nth)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range path {
			if f := runtime.FuncForPC(uintptr(at)); f != nil && strings.HasSuffix(f.Name(), ".work") {
				sum++
			}
		}
		return sum
	}
	second, third := count(2), count(3)
	if second != count(2) {
		t.Errorf("%v instructions, and others the second time", second)
	}
	if more := third - second; more < 200 || more > 2000 || more%100 != 0 {
		t.Errorf("%v instructions for a hundred turns of a loop", more)
	}
	if _, err := trace(exec.Command("/bin/true"), from, to, 1); err == nil {
		t.Error("a process that has no such function was traced")
	}
}
