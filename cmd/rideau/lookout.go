package main

import (
	"context"
	"time"

	"rideau/resolver/limit"
)

// lookOut tells the gate of queries that the system loses, and the log of
// floods.
func (s *server) lookOut(ctx context.Context) {
	tick := time.NewTicker(limit.LookEvery)
	defer tick.Stop()
	was, flooded := s.sockets.stats(), false
	var shield *limit.Shield
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.sockets.stats()
		if cfg, _ := s.now(); cfg.Limits.Flood {
			s.gate.Look(limit.Sight{Pressed: now.Lost > was.Lost || now.Backlog > 0.5, Kept: now.Shielded - was.Shielded,
				Now: s.resolver.GateClock(time.Now())})
		} else {
			s.gate.Calm()
		}
		was = now
		if sh := s.gate.Shield(); sh != shield {
			shield = sh
			s.sockets.shield(sh)
		}
		if f := s.gate.Flooded(); f != flooded {
			flooded = f
			if f {
				s.log.Warn("more queries come than can be read, from many networks: those that ask most are turned away")
			} else {
				s.log.Info("the flood is over", "turned_away", s.gate.Refused(limit.ByFlood))
			}
		}
	}
}
