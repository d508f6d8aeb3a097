//go:build unix

package files

import (
	"io/fs"
	"syscall"
)

// guarded are the flags that follow no link and wait for nobody.
const guarded = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// owner returns the number of the user whose file it is.
func owner(info fs.FileInfo) (uid int, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
