package server

import (
	"time"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/cmd/rideau/internal/changes"
	"rideau/cmd/rideau/internal/evidence"
	"rideau/cmd/rideau/internal/setup"
	"rideau/config"
	"rideau/resolver/audit/act"
)

// clockInterval is the longest time between two comparisons of the policy with the clock, which may be set at any time.
const clockInterval = 5 * time.Second

// now returns the time of the system's clock.
func (s *Server) now() time.Time {
	r := s.clock.Read()
	return r.Now()
}

// instants reads the clock for a policy of that configuration, see [blocklists.Snapshot.At].
func (s *Server) instants(cfg *config.Config) []time.Time {
	s.clock.Files(setup.FileTimes(cfg))
	r := s.clock.Read()
	if r.Ignored != "" {
		s.log.Warn(r.Ignored)
	}
	s.logClock(r.Distrusted)
	return r.Instants
}

// distrusted returns why the clock is distrusted; empty if it is trusted.
func (s *Server) distrusted() string { return s.clock.Read().Distrusted }

// logClock logs that the clock is distrusted, and that it is trusted again: once each.
func (s *Server) logClock(why string) {
	if why == "" {
		if s.doubted.Swap(nil) != nil {
			s.log.Warn("the system's clock is trusted again")
		}
		return
	}
	if s.doubted.Swap(&why) == nil {
		s.log.Error("the system's clock is distrusted: no ban ends and no exception begins by it", "why", why)
	}
}

// arm makes sure that the policy is compared with the clock when a ban next begins or ends, and every clockInterval. mu is held, or nothing
// else runs yet.
func (s *Server) arm(snap *blocklists.Snapshot) {
	if s.timer != nil {
		s.timer.Stop()
	}
	wait := clockInterval
	if left := snap.NextChange().Sub(s.now()); left > 0 {
		wait = min(wait, left)
	}
	s.timer = time.AfterFunc(wait, s.changeByDate)
}

// changeByDate puts the policy of this moment in force.
func (s *Server) changeByDate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.steady.Slept(s.clock.Slept())
	now := s.clock.Read()
	s.logClock(now.Distrusted)
	state := s.resolver.State()
	snap := state.Policy()
	if changed := snap.ChangesAt(now.Instants...); changed || !now.Now().Before(snap.NextChange()) && !snap.NextChange().IsZero() {
		snap = snap.At(now.Instants...)
		s.resolver.SetState(state.WithPolicy(snap))
		if !changed {
			s.arm(snap) // only its next change is another one
			return
		}
		s.warnOpen(enforced.Any(state.Policy()), snap)
		for _, a := range evidence.ByDate(state.Policy(), snap) {
			s.record(a)
		}
		s.follow(act.Actor{Way: act.ByDate})
		changes.ByDate(s.log, state.Policy(), snap, now.Now())
	}
	s.arm(snap)
}
