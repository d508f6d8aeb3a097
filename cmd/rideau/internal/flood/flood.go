// Package flood observes whether more queries come than a server can read.
package flood

import (
	"context"
	"log/slog"
	"time"

	"rideau/resolver/limit"
	"rideau/resolver/listener"
)

// Watch observes whether more queries come than the sockets can read. If so, the gate
// finds the clients that send most, and they are turned away.
type Watch struct {
	Gate    *limit.Gate
	Waits   *limit.WaitLimit
	Sockets Sockets
	Busy    <-chan struct{}       // see listener.Options
	Clock   func(time.Time) int64 // the clock of Gate.Admit
	Log     *slog.Logger
}

// Sockets are those of a server.
type Sockets interface {
	// Stats returns the sum of the figures of all sockets.
	Stats() listener.Stats
	// Shield lets the system drop datagrams of networks that flood; nil ends that.
	Shield(*limit.Shield)
}

// calmAfter is how many observations are made without a full batch, before the
// next full batch is awaited.
const calmAfter = int(5 * time.Second / limit.ObserveEvery)

// Run observes until ctx ends, while enabled returns true. It does nothing until a
// worker reads as many queries as it can at once: before that none is lost, and a
// server that has little to do sleeps.
func (w Watch) Run(ctx context.Context, enabled func() bool) {
	o := observer{Watch: w, was: w.Sockets.Stats()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Busy:
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
			case <-w.Busy:
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
	Watch
	was     listener.Stats
	flooded bool
	shield  *limit.Shield
	refused uint64
}

// observe has the gate judge what happened since the last call.
func (o *observer) observe(enabled bool) {
	now := o.Sockets.Stats()
	if enabled {
		// A flood can fill the queue of pending queries as well as the
		// sockets. A full queue alone is no sign of a flood: upstreams may
		// be slow.
		full := o.Waits.Refused(limit.Full) + o.Waits.Refused(limit.ClientFull) + o.Waits.Refused(limit.ZoneFull)
		pressed := now.Lost > o.was.Lost || now.Backlog > 0.5 || o.flooded && full > o.refused
		o.refused = full
		o.Gate.Observe(limit.Observation{Pressed: pressed, Shielded: now.Shielded - o.was.Shielded,
			Now: o.Clock(time.Now())})
	} else {
		o.Gate.EndFlood()
	}
	o.was = now
	if s := o.Gate.Shield(); s != o.shield {
		o.shield = s
		o.Sockets.Shield(s)
	}
	if f := o.Gate.Flooded(); f != o.flooded {
		o.flooded = f
		if f {
			o.Log.Warn("more queries come than can be read, from many networks: those that ask most are turned away")
		} else {
			o.Log.Info("the flood is over", "turned_away", o.Gate.Refused(limit.ByFlood))
		}
	}
}
