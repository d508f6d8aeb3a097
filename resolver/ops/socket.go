package ops

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ListenSocket binds a Unix socket that only its owner and root can use. They need no
// token. A socket that an earlier process left is replaced, one that is served is not.
func (s *Server) ListenSocket(path string) error {
	l, made, err := bindSocket(path)
	if err != nil {
		return fmt.Errorf("ops.socket: %w", err)
	}
	defer os.RemoveAll(filepath.Dir(made))
	if err := os.Rename(made, path); err != nil {
		l.Close()
		return fmt.Errorf("ops.socket: %w", err)
	}
	s.listeners = append(s.listeners, boundedListener{Listener: unlinking{l, path}, conns: s.conns, socket: true})
	return nil
}

// TrySocket returns the error that ListenSocket would return, and leaves nothing. It is a
// [syscall.EADDRINUSE] if another process serves the socket.
func TrySocket(path string) error {
	l, made, err := bindSocket(path)
	if err != nil {
		return err
	}
	l.Close()
	return os.RemoveAll(filepath.Dir(made))
}

// bindSocket binds a socket that is to be renamed to path. It is in a new folder that nobody else
// can enter, so that it never has another mode, and which the caller removes.
func bindSocket(path string) (l *net.UnixListener, made string, err error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, "", fmt.Errorf("%s is there, and is no socket; set ops.socket to another path", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		return nil, "", servedError(path)
	case errors.Is(err, syscall.EINVAL):
		return nil, "", fmt.Errorf("%s is too long; a path has a hundred octets at most", path)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".ops")
	if err != nil {
		return nil, "", fmt.Errorf("%w; make the folder, and let this user write to it", err)
	}
	made = filepath.Join(dir, "s")
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		os.RemoveAll(dir)
		return nil, "", fmt.Errorf("%w; a path has a hundred octets at most", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err != nil {
		l.Close()
		os.RemoveAll(dir)
		return nil, "", err
	}
	return l, made, nil
}

// servedError is the error of a socket that another process serves, by its path.
type servedError string

// Error implements error.
func (e servedError) Error() string {
	return "another process serves " + string(e) + "; stop it, or set ops.socket to another path"
}

// Is reports whether it is the error of an address that is in use.
func (e servedError) Is(target error) bool { return target == syscall.EADDRINUSE }

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
