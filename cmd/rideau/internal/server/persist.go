package server

import (
	"context"
	"time"
)

// saveInterval is the time between two saves, in case the process ends without
// being asked to.
const saveInterval = 15 * time.Minute

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
	s.saved.Save(cfg.Cache.Snapshot, ups.Fingerprint())
}
