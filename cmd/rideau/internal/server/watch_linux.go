package server

import (
	"os"
	"syscall"
)

func stateOf(info os.FileInfo) fileState {
	s := fileState{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(st.Dev), st.Ino
		s.changed = st.Ctim.Nano()
	}
	return s
}
