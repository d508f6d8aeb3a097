// Package snapshot keeps the cache in a file from one process to the next.
package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"rideau/cmd/rideau/internal/files"
	"rideau/resolver/cache"
	"rideau/resolver/steady"
)

// Cache carries a cache from one process to the next in a file, the
// configuration's cache.snapshot. With an empty path its methods do nothing.
type Cache struct {
	Cache  *cache.Cache
	Steady *steady.Clock // of Cache
	Log    *slog.Logger
}

// unfinished is what the names of unfinished files end with.
const unfinished = ".*.tmp"

// Restore fills the cache with what the last process saved. upstreams says whose
// answers may be used. A file that cannot be used is logged, and the cache
// begins empty.
func (s Cache) Restore(path string, upstreams cache.Fingerprint) {
	if path == "" {
		return
	}
	leftovers, _ := filepath.Glob(path + unfinished)
	for _, l := range leftovers {
		os.Remove(l)
	}
	begun := time.Now()
	f, err := openSnapshot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	n := 0
	if err == nil {
		n, err = s.Cache.Restore(f, upstreams, s.Steady.At(begun), begun.UnixNano())
		f.Close()
	}
	switch {
	case errors.Is(err, cache.ErrForeign):
		s.Log.Info("the cache begins empty: its snapshot has answers of other upstreams", "file", path)
	case err != nil:
		s.Log.Warn("the cache begins empty: its snapshot cannot be used", "file", path, "error", err)
	default:
		s.Log.Info("cache restored", "file", path, "answers", n, "took", time.Since(begun).Round(time.Millisecond))
	}
}

// openSnapshot opens the file. The answers in it are given to clients, so that a file
// that somebody else may have written is refused.
func openSnapshot(path string) (*os.File, error) {
	f, a, err := files.Open(path, os.O_RDONLY, 0)
	switch {
	case err != nil:
		return nil, err
	case !a.Own:
		err = fmt.Errorf("it belongs to another user, %d; remove it, or chown it to the user that rideau runs as", a.Owner)
	case a.EveryoneWrites() || a.GroupWrites():
		err = errors.New("others can write it; remove it, or let only its owner write it (chmod 600)")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Save writes the file, whole or not at all. upstreams says whose answers it
// holds.
func (s Cache) Save(path string, upstreams cache.Fingerprint) {
	if path == "" {
		return
	}
	begun := time.Now()
	n, err := s.write(path, upstreams, begun)
	if err != nil {
		s.Log.Warn("the cache's snapshot cannot be written; what there was before stays", "file", path, "error", err)
		return
	}
	s.Log.Info("cache saved", "file", path, "answers", n, "took", time.Since(begun).Round(time.Millisecond))
}

// write writes a file beside path that only its owner can read, and renames it
// to path.
func (s Cache) write(path string, upstreams cache.Fingerprint, now time.Time) (answers int, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+unfinished) // with mode 0600
	if err != nil {
		return 0, err
	}
	answers, err = s.Cache.Save(f, upstreams, s.Steady.At(now), now.UnixNano())
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return answers, err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil { // so that the rename is on disk, too
		_ = d.Sync()
		d.Close()
	}
	return answers, nil
}
