package ops

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// ListenSocket binds a Unix socket that only its owner and root can use. They need no
// token. A socket that an earlier process left is replaced, one that is served is not.
func (s *Server) ListenSocket(path string) error {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return fmt.Errorf("ops.socket: %s is there, and is no socket; set ops.socket to another path", path)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return fmt.Errorf("ops.socket: another process serves %s; stop it, or set ops.socket to another path", path)
		}
	}
	// It is made in a folder that nobody else can enter, so that it never has another mode.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".ops")
	if err != nil {
		return fmt.Errorf("ops.socket: %w; make the folder, and let this user write to it", err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return fmt.Errorf("ops.socket: %w; a path has a hundred octets at most", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		l.Close()
		return fmt.Errorf("ops.socket: %w", err)
	}
	s.listeners = append(s.listeners, boundedListener{Listener: unlinking{l, path}, conns: s.conns, socket: true})
	return nil
}

// unlinking removes its socket when it is closed.
type unlinking struct {
	net.Listener
	path string
}

// Close implements net.Listener.
func (u unlinking) Close() error {
	err := u.Listener.Close()
	if err == nil {
		_ = os.Remove(u.path)
	}
	return err
}
