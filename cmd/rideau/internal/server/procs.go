package server

import (
	"os"
	"runtime"
	"runtime/debug"

	"rideau/config"
)

// spareProcs is how many more threads run Go code than there are processors
// for the workers that answer queries.
//
// A worker that is never idle never gives its place away, and one that waits
// in the kernel wants it back at once. With a place for each worker alone, a
// reload or the garbage collector would stand in a worker's way for 10 ms at a
// time, and the runtime would take and give places with every wake-up. With one
// for each of the two besides, it is the kernel that shares the processors,
// which it does by the microsecond.
const spareProcs = 2

// setProcs makes room for more than the workers, and returns how many workers
// there should be. An operator's GOMAXPROCS is left as it is.
func setProcs() (workers int) {
	workers = runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(workers + spareProcs)
	}
	return workers
}

// limitMemory tells the garbage collector what the process is to keep to.
func (s *Server) limitMemory(cfg *config.Config) {
	limit := cfg.Cache.MemoryLimit
	if limit == 0 {
		limit = s.memory
	}
	debug.SetMemoryLimit(limit)
}
