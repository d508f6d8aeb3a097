//go:build unix

package descriptors

import (
	"math"
	"syscall"
)

// Limit returns how many files this process may have open; 0 if that is not known. The
// Go runtime has raised the soft limit to the hard one when the program began.
func Limit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(uint64(l.Cur), math.MaxInt32)) // no limit is the largest number
}
