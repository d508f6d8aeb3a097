//go:build unix

package files

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// HandOver gives what root has made in a folder, the folder itself if root has just made it, to the owner of the folder, or of the one
// around it: that is whom a service runs as that uses it. made says that the folder did not exist before. For other users than root, and
// where the owner is root, nothing is done. It returns the owner, and whether the process runs as root.
func HandOver(dir string, made bool) (owner int, root bool, err error) {
	if os.Geteuid() != 0 {
		return 0, false, nil
	}
	of := dir
	if made {
		of = filepath.Dir(filepath.Clean(dir))
	}
	info, err := os.Stat(of)
	if err != nil {
		return 0, true, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return 0, true, nil
	}
	uid, gid := int(st.Uid), int(st.Gid)
	if made {
		if err := os.Lchown(dir, uid, gid); err != nil {
			return uid, true, err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return uid, true, err
	}
	for _, e := range entries {
		if err := give(filepath.Join(dir, e.Name()), uid, gid); err != nil {
			return uid, true, fmt.Errorf("%w; chown it to the user that rideau runs as", err)
		}
	}
	return uid, true, nil
}

// give gives a file of root to another user. The other user may change the folder meanwhile: a link is not followed, and a file that
// has other names is left alone.
func give(path string, uid, gid int) error {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, a, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil // it is none of root's any more
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !a.Own || st.Nlink != 1 {
		return nil
	}
	return f.Chown(uid, gid)
}
