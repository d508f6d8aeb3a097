//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// lock is held by the Writer of a store.
type lock struct{ f *os.File }

// lockFile takes a lock that the system releases when the process ends.
func lockFile(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another rideau writes to it; give each one a store of its own")
		}
		return nil, err
	}
	return &lock{f}, nil
}

func (l *lock) close() {
	if l != nil {
		l.f.Close()
	}
}
