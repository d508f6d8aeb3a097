package server

import (
	"context"
	"time"

	"rideau/resolver/limit"
)

// lookOut tells the gate of queries that the system loses, and the log of
// floods.
func (s *Server) lookOut(ctx context.Context) {
	tick := time.NewTicker(limit.LookEvery)
	defer tick.Stop()
	was, flooded := s.sockets.stats(), false
	var shield *limit.Shield
	var crowded uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.sockets.stats()
		if cfg, _ := s.now(); cfg.Limits.Flood {
			// A flood may press on who waits as well as on the sockets. Alone,
			// that says nothing of clients: upstreams may be slow.
			turned := s.room.Refused(limit.Full) + s.room.Refused(limit.ClientFull) + s.room.Refused(limit.ZoneFull)
			pressed := now.Lost > was.Lost || now.Backlog > 0.5 || flooded && turned > crowded
			crowded = turned
			s.gate.Look(limit.Sight{Pressed: pressed, Kept: now.Shielded - was.Shielded,
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
