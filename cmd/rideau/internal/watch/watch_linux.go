package watch

import (
	"os"
	"syscall"
)

// stampOf returns the stamp of a file.
func stampOf(info os.FileInfo) fileStamp {
	s := fileStamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(st.Dev), st.Ino
		s.changed = st.Ctim.Nano()
	}
	return s
}
