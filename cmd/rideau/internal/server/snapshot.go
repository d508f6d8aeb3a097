package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rideau/resolver/cache"
)

// snapshotInterval is the time between snapshots of the cache, for the case
// that the process ends without being asked to.
const snapshotInterval = 15 * time.Minute

// snapshotTemp is what the names of unfinished snapshots end with.
const snapshotTemp = ".*.tmp"

// warm fills the cache with what the last process left. What cannot be used is
// told, and no reason not to start.
func (s *Server) warm() {
	path := s.cfg.Cache.Snapshot
	if path == "" {
		return
	}
	leftovers, _ := filepath.Glob(path + snapshotTemp)
	for _, l := range leftovers {
		os.Remove(l)
	}
	begun := time.Now()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	n := 0
	if err == nil {
		n, err = s.cache.Restore(f, s.ups.Asked(), begun.UnixNano())
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

// snapshots saves the cache from time to time.
func (s *Server) snapshots(ctx context.Context) {
	tick := time.NewTicker(snapshotInterval)
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

// saveCache writes the cache's snapshot, whole or not at all. No reload has
// others asked meanwhile.
func (s *Server) saveCache() {
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg, ups := s.now()
	path := cfg.Cache.Snapshot
	if path == "" {
		return
	}
	begun := time.Now()
	n, err := writeSnapshot(path, s.cache, ups.Asked(), begun)
	if err != nil {
		s.log.Warn("the cache's snapshot cannot be written; what there was before stays", "file", path, "error", err)
		return
	}
	s.log.Info("cache saved", "file", path, "answers", n, "took", time.Since(begun).Round(time.Millisecond))
}

// writeSnapshot writes beside the file, for the owner's eyes only, and renames.
func writeSnapshot(path string, c *cache.Cache, asked cache.Fingerprint, now time.Time) (n int, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+snapshotTemp) // with mode 0600
	if err != nil {
		return 0, err
	}
	n, err = c.Save(f, asked, now.UnixNano())
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
		return n, err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil { // so that the rename lasts
		_ = d.Sync()
		d.Close()
	}
	return n, nil
}
