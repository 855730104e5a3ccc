package proc

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Host says what this machine is: processor, how many of it, kernel, Go.
func Host() string {
	var u unix.Utsname
	unix.Uname(&u)
	info, _ := os.ReadFile("/proc/cpuinfo")
	return fmt.Sprintf("%d x %s, Linux %s, %s", runtime.NumCPU(), cpuModel(string(info)), unix.ByteSliceToString(u.Release[:]), runtime.Version())
}

func cpuModel(info string) string {
	for line := range strings.Lines(info) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}
