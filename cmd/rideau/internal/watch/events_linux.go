package watch

import (
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// events says that something has changed in the folders of files, by inotify(7). It
// is used by one goroutine.
type events struct {
	file    *os.File
	changed chan struct{} // gets a token after a change; what follows is read after it was taken
	closed  chan struct{}
	paths   []string // what was last followed
	whole   bool     // every change is an event
}

// newEvents returns nil where the system has no events to spare.
func newEvents() *events {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	e := &events{file: os.NewFile(uintptr(fd), "inotify"), changed: make(chan struct{}), closed: make(chan struct{})}
	go func() {
		var buf [4096]byte
		for {
			if _, err := e.file.Read(buf[:]); err != nil {
				return
			}
			select {
			case e.changed <- struct{}{}:
			case <-e.closed:
				return
			}
		}
	}()
	return e
}

// follow watches the folders of the files, and those of the links on the way to them.
// again says that the folders may be others than those of the last call.
func (e *events) follow(paths []string, again bool) {
	if !again && slices.Equal(paths, e.paths) {
		return
	}
	e.paths, e.whole = slices.Clone(paths), true
	rc, err := e.file.SyscallConn()
	if err != nil {
		e.whole = false
		return
	}
	// What is watched already stays so.
	const mask = unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	rc.Control(func(fd uintptr) {
		for _, dir := range folders(paths) {
			_, err := unix.InotifyAddWatch(int(fd), dir, mask|unix.IN_ONLYDIR)
			e.whole = e.whole && err == nil && local(dir)
		}
		// A file that is mounted alone into a container is written in another folder.
		for _, p := range paths {
			unix.InotifyAddWatch(int(fd), p, mask)
		}
	})
}

// local reports whether a folder is on a file system that only this machine changes: the
// kernel reports no events for what other machines do.
func local(dir string) bool {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return false
	}
	switch uint32(s.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
		unix.OVERLAYFS_SUPER_MAGIC, unix.SQUASHFS_MAGIC:
		return true
	}
	return false
}

// close ends the events.
func (e *events) close() {
	close(e.closed)
	e.file.Close()
}

// folders returns the folders whose entries are on the way to files: for a link also that
// of what it refers to.
func folders(paths []string) []string {
	const maxLinks = 40 // as the kernel
	var out []string
	for _, p := range paths {
		for range maxLinks {
			dir := filepath.Dir(p)
			out = append(out, dir)
			to, err := os.Readlink(p)
			if err != nil {
				break
			}
			if !filepath.IsAbs(to) {
				to = filepath.Join(dir, to)
			}
			p = to
		}
		// A folder on the way may be a link as well, as in a volume of Kubernetes.
		for at := filepath.Dir(p); at != filepath.Dir(at); at = filepath.Dir(at) {
			if info, err := os.Lstat(at); err == nil && info.Mode()&os.ModeSymlink != 0 {
				out = append(out, filepath.Dir(at))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
