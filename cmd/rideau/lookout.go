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
	lost, flooded := s.sockets.stats().Lost, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.sockets.stats().Lost
		if cfg, _ := s.now(); cfg.Limits.Flood {
			s.gate.Look(now-lost, s.resolver.GateClock(time.Now()))
		} else {
			s.gate.Calm()
		}
		lost = now
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
