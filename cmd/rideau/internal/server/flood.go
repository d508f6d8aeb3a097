package server

import (
	"context"
	"log/slog"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
	"rideau/resolver/listener"
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

// calmAfter is how many observations are made without a full batch, before the
// next full batch is awaited.
const calmAfter = int(5 * time.Second / limit.ObserveEvery)

// run observes until ctx ends, while enabled returns true. It does nothing until a
// worker reads as many queries as it can at once: before that none is lost, and a
// server that has little to do sleeps.
func (w floodWatch) run(ctx context.Context, enabled func() bool) {
	o := observer{floodWatch: w, was: w.sockets.stats()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.sockets.busy:
		}
		tick := time.NewTicker(limit.ObserveEvery)
		for calm := 0; calm < calmAfter || o.flooded || o.shield != nil; calm++ {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			if ctx.Err() != nil {
				break
			}
			select {
			case <-w.sockets.busy:
				calm = 0
			default:
			}
			o.observe(enabled())
		}
		tick.Stop()
	}
}

// observer is what is known from one observation to the next.
type observer struct {
	floodWatch
	was     listener.Stats
	flooded bool
	shield  *limit.Shield
	refused uint64
}

// observe has the gate judge what happened since the last call.
func (o *observer) observe(enabled bool) {
	now := o.sockets.stats()
	if enabled {
		// A flood can fill the queue of pending queries as well as the
		// sockets. A full queue alone is no sign of a flood: upstreams may
		// be slow.
		full := o.waits.Refused(limit.Full) + o.waits.Refused(limit.ClientFull) + o.waits.Refused(limit.ZoneFull)
		pressed := now.Lost > o.was.Lost || now.Backlog > 0.5 || o.flooded && full > o.refused
		o.refused = full
		o.gate.Observe(limit.Observation{Pressed: pressed, Shielded: now.Shielded - o.was.Shielded,
			Now: o.resolver.GateClock(time.Now())})
	} else {
		o.gate.EndFlood()
	}
	o.was = now
	if s := o.gate.Shield(); s != o.shield {
		o.shield = s
		o.sockets.shield(s)
	}
	if f := o.gate.Flooded(); f != o.flooded {
		o.flooded = f
		if f {
			o.log.Warn("more queries come than can be read, from many networks: those that ask most are turned away")
		} else {
			o.log.Info("the flood is over", "turned_away", o.gate.Refused(limit.ByFlood))
		}
	}
}
