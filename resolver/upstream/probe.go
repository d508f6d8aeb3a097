package upstream

import (
	"context"
	"sync"
	"time"
)

// run looks for silent upstreams several times in an interval, so that
// one that comes back is found little more than an interval later. There is no
// back-off: a probe is one small query, and what waits for it is a network
// without names. Who goes down again and again is probed all the same, but not
// believed for a while if there are others.
func (g *Group) run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	tick := time.NewTicker(max(min(g.probeInterval/4, time.Second), time.Millisecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		for _, m := range g.members {
			if m.silent(g.probeInterval) {
				m.lastProbe.Store(m.now())
				probes.Go(func() { g.ask(ctx, m) })
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// ask sends one probe.
func (g *Group) ask(parent context.Context, m *member) {
	ctx, cancel := context.WithTimeout(parent, g.attemptTimeout)
	defer cancel()
	m.probes.Add(1)
	sent := time.Now()
	_, err := g.exchange(ctx, m, g.probe, false)
	switch {
	case err == nil:
		// What is in use is measured by what is asked for.
		g.heardOf(m, sent, time.Since(sent), !m.is(Up) || m.rtt.smoothed() == 0)
	case parent.Err() == nil:
		m.probeFailures.Add(1)
		g.missed(m, sent, err)
	}
}
