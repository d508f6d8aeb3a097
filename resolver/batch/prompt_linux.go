package batch

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// slice is what the kernel runs a prompt thread for at a time, the least that
// can be asked for.
const slice = 100 * time.Microsecond

// Prompt ties the calling goroutine to its thread and asks the kernel to run
// that soon after there is something for it to do. It takes no more than its
// share of the processors for that, but takes it in short slices, for which
// Linux since 6.12 interrupts threads with longer ones: else one that waits for
// datagrams waits for milliseconds more while a list is compiled or garbage is
// collected on its processor. Best effort; it needs no privilege.
func Prompt() {
	runtime.LockOSThread()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = uint64(slice)
	unix.SchedSetAttr(0, attr, 0)
}
