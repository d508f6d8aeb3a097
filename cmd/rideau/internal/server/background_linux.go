package server

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// background runs f on a thread of its own that has less claim to a processor
// than those that answer queries: a quarter of it where both want all.
// A panic of f is the caller's.
func background(f func()) {
	done := make(chan any)
	go func() {
		var fault any
		defer func() { done <- fault }()
		defer func() { fault = recover() }()
		// Never unlocked, so that the thread ends with f and serves nobody
		// else: its nice value can be raised without privilege, not lowered.
		runtime.LockOSThread()
		unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 5) // best effort
		f()
	}()
	if fault := <-done; fault != nil {
		panic(fault)
	}
}
