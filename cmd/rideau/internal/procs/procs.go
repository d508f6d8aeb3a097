// Package procs sets what belongs to the process and not to a server: threads and memory.
package procs

import (
	"os"
	"runtime"
	"runtime/debug"
)

// spareProcs is how many more threads run Go code than there are processors
// for the workers that answer queries.
//
// A worker under load is never idle, and one that waits in the kernel wants to
// run again at once. With a thread for each worker alone, a reload or the
// garbage collector would delay a worker by 10 ms at a time, and the runtime
// would hand threads over with every wake-up. With two threads more, the kernel
// shares the processors, by the microsecond.
const spareProcs = 2

// SetProcs lets spareProcs more threads run Go code than there are processors,
// and returns the number of processors, one for each worker. GOMAXPROCS in the
// environment is left as it is.
func SetProcs() (workers int) {
	workers = runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(workers + spareProcs)
	}
	return workers
}

// MemoryLimiter returns a function that sets the limit to which the garbage
// collector keeps the process; 0 is the limit that the process has now.
func MemoryLimiter() func(bytes int64) {
	own := debug.SetMemoryLimit(-1)
	return func(bytes int64) {
		if bytes == 0 {
			bytes = own
		}
		debug.SetMemoryLimit(bytes)
	}
}
