package batch

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// slice is how long the kernel runs a prompt thread at a time: the least that can
// be requested.
const slice = 100 * time.Microsecond

// Prompt locks the calling goroutine to its thread, and has the kernel run that
// soon after it has something to do. The thread gets no larger share of the
// processors, but gets it in short slices, for which Linux since 6.12 interrupts
// threads with longer slices. Otherwise a thread that waits for datagrams waits
// some milliseconds longer while a list is compiled or garbage is collected on
// its processor. Best effort; it needs no privilege.
func Prompt() {
	runtime.LockOSThread()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = uint64(slice)
	unix.SchedSetAttr(0, attr, 0)
}
