package server

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// background runs f on a thread of its own with a lower priority: where f and the
// threads that answer queries both need a processor, f gets a quarter of it. It
// panics if f does.
func background(f func()) {
	done := make(chan any)
	go func() {
		var fault any
		defer func() { done <- fault }()
		defer func() { fault = recover() }()
		// Never unlocked, so that the thread ends with f: a process without
		// privilege cannot lower the nice value again.
		runtime.LockOSThread()
		unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 5) // best effort
		f()
	}()
	if fault := <-done; fault != nil {
		panic(fault)
	}
}
