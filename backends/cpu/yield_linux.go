package cpu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// yield lets whoever else needs the processor have it: goroutines, and where there are more threads than processors, or
// other processes, the operating system's other threads, which runtime.Gosched does not know of.
func yield() {
	runtime.Gosched()
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
}
