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

// mayWrite returns why the process cannot make files in a folder. It asks for the process's real user, which is the effective one unless the
// program is set-user-ID.
func mayWrite(dir string) error {
	const writeAndSearch = 2 | 1
	return syscall.Access(dir, writeAndSearch)
}
