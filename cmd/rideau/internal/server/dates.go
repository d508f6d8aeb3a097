package server

import (
	"time"

	"rideau/blocklists"
)

// arm makes sure that the policy changes when a ban next begins or ends. mu
// is held, or nothing else runs yet.
func (s *Server) arm(snap *blocklists.Snapshot) {
	if s.timer != nil {
		s.timer.Stop()
	}
	next := snap.NextChange()
	if next.IsZero() {
		return
	}
	// The wait is a minute at most: the system's clock may be set meanwhile.
	s.timer = time.AfterFunc(min(max(time.Until(next), 0), time.Minute), s.changeByDate)
}

// changeByDate puts the policy of this moment in force.
func (s *Server) changeByDate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	state := s.resolver.State()
	snap, now := state.Policy(), time.Now()
	if !now.Before(snap.NextChange()) {
		snap = snap.At(now)
		s.resolver.SetState(state.WithPolicy(snap))
		for _, b := range snap.Bans() {
			s.log.Info("bans changed by date", "ban", b.Ban.ID, "in_force", b.Active)
		}
	}
	s.arm(snap)
}
