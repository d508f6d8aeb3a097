package server

import (
	"context"
	"log/slog"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
)

// floodWatch observes whether more queries come than the sockets can read. If
// so, the gate finds the clients that send most, and they are turned away.
type floodWatch struct {
	gate     *limit.Gate
	waits    *limit.WaitLimit
	sockets  *sockets
	resolver *resolver.Resolver
	log      *slog.Logger
}

// run observes until ctx ends, while enabled returns true.
func (w floodWatch) run(ctx context.Context, enabled func() bool) {
	tick := time.NewTicker(limit.ObserveEvery)
	defer tick.Stop()
	was, flooded := w.sockets.stats(), false
	var shield *limit.Shield
	var refused uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.sockets.stats()
		if enabled() {
			// A flood can fill the queue of pending queries as well as the
			// sockets. A full queue alone is no sign of a flood: upstreams may
			// be slow.
			full := w.waits.Refused(limit.Full) + w.waits.Refused(limit.ClientFull) + w.waits.Refused(limit.ZoneFull)
			pressed := now.Lost > was.Lost || now.Backlog > 0.5 || flooded && full > refused
			refused = full
			w.gate.Observe(limit.Observation{Pressed: pressed, Shielded: now.Shielded - was.Shielded,
				Now: w.resolver.GateClock(time.Now())})
		} else {
			w.gate.EndFlood()
		}
		was = now
		if s := w.gate.Shield(); s != shield {
			shield = s
			w.sockets.shield(s)
		}
		if f := w.gate.Flooded(); f != flooded {
			flooded = f
			if f {
				w.log.Warn("more queries come than can be read, from many networks: those that ask most are turned away")
			} else {
				w.log.Info("the flood is over", "turned_away", w.gate.Refused(limit.ByFlood))
			}
		}
	}
}
