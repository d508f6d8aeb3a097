package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"rideau/cmd/rideau/internal/files"
	"rideau/resolver/cache"
)

// savedCache carries the cache from one process to the next in a file, the
// configuration's cache.snapshot. With an empty path its methods do nothing.
type savedCache struct {
	cache *cache.Cache
	log   *slog.Logger
}

// saveInterval is the time between two saves, in case the process ends without
// being asked to.
const saveInterval = 15 * time.Minute

// unfinished is what the names of unfinished files end with.
const unfinished = ".*.tmp"

// restore fills the cache with what the last process saved. upstreams says whose
// answers may be used. A file that cannot be used is logged, and the cache
// begins empty.
func (s savedCache) restore(path string, upstreams cache.Fingerprint) {
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
		n, err = s.cache.Restore(f, upstreams, begun.UnixNano())
		f.Close()
	}
	switch {
	case errors.Is(err, cache.ErrForeign):
		s.log.Info("the cache begins empty: its snapshot has answers of other upstreams", "file", path)
	case err != nil:
		s.log.Warn("the cache begins empty: its snapshot cannot be used", "file", path, "error", err)
	default:
		s.log.Info("cache restored", "file", path, "answers", n, "took", time.Since(begun).Round(time.Millisecond))
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

// save writes the file, whole or not at all. upstreams says whose answers it
// holds.
func (s savedCache) save(path string, upstreams cache.Fingerprint) {
	if path == "" {
		return
	}
	begun := time.Now()
	n, err := s.write(path, upstreams, begun)
	if err != nil {
		s.log.Warn("the cache's snapshot cannot be written; what there was before stays", "file", path, "error", err)
		return
	}
	s.log.Info("cache saved", "file", path, "answers", n, "took", time.Since(begun).Round(time.Millisecond))
}

// write writes a file beside path that only its owner can read, and renames it
// to path.
func (s savedCache) write(path string, upstreams cache.Fingerprint, now time.Time) (answers int, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+unfinished) // with mode 0600
	if err != nil {
		return 0, err
	}
	answers, err = s.cache.Save(f, upstreams, now.UnixNano())
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

// saveCacheOften saves the cache every saveInterval until ctx ends.
func (s *Server) saveCacheOften(ctx context.Context) {
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			background(s.saveCache)
		}
	}
}

// saveCache saves the cache. It holds mu, so that no reload changes the
// upstreams meanwhile.
func (s *Server) saveCache() {
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg, ups := s.current()
	s.saved.save(cfg.Cache.Snapshot, ups.Fingerprint())
}
