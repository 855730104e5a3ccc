package host

import (
	"os"
	"strconv"
	"time"
)

// monitorSlack is how much later than asked for the kernel may wake the runtime's
// monitor thread: it then looks around once a second on an idle processor.
const monitorSlack = time.Second

// RelaxMonitor gives the Go runtime's monitor thread of this process a timer slack of a
// second (proc_pid_timerslack_ns(5)). It wakes with each thread that does after all
// slept, and then every 20 to 70 µs for a while, to look for threads that block. The
// runtime makes it before any other thread (runtime/proc.go, main), and the kernel
// lists threads in the order in which they were made. Another thread's slack takes
// CAP_SYS_NICE; without it, everything works as well, at a higher cost.
func RelaxMonitor() {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return
	}
	defer dir.Close()
	if threads, _ := dir.Readdirnames(2); len(threads) == 2 {
		slack := strconv.Itoa(int(monitorSlack))
		_ = os.WriteFile("/proc/"+threads[1]+"/timerslack_ns", []byte(slack), 0)
	}
}
