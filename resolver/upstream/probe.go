package upstream

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/health"
	"rideau/resolver/upstream/member"
	"rideau/resolver/upstream/try"
)

// Run probes the servers: at once all that have not answered yet, and then
// those that have been silent for the probe interval. It returns when ctx has
// ended and the last probe with it.
//
// A server that leaves a client's first request unanswered is probed at once:
// the probe tells whether it is the server that is silent, or the zone. It is
// answered before a server that is there can go down.
//
// It looks for servers that are down several times in an interval, so that one that
// comes back is found little more than an interval later. There is no back-off:
// a probe is one small query, and a network without names waits for it. A
// server that goes down again and again is probed all the same, but not
// believed for a while if there are others.
func (g *Group) Run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	g.running.Store(true)
	defer g.running.Store(false)
	look := time.NewTimer(0)
	defer look.Stop()
	for ctx.Err() == nil {
		for _, m := range g.members {
			if m.Suspected.Load() && !m.Probing(g.limit(m)) || m.Silent(g.probeInterval) {
				m.Suspected.Store(false)
				m.Probed()
				probes.Go(func() { g.sendProbe(ctx, m) })
			}
			if l, ok := m.Server.(member.Learner); ok && l.LearnDue() && !m.Learning.Swap(true) {
				probes.Go(func() { g.learn(ctx, m, l) })
			}
			g.report(m)
		}
		look.Reset(g.nextLook())
		select {
		case <-ctx.Done():
		case <-look.C:
		case <-g.suspect:
		}
	}
}

// nextLook is the time until Run looks at the servers again: as long as all answer, until
// one of them could be silent, so that a group without queries sleeps.
func (g *Group) nextLook() time.Duration {
	often := max(min(g.probeInterval/4, time.Second), time.Millisecond)
	in := g.probeInterval
	for _, m := range g.members {
		if !m.Is(health.Up) || m.Failing() || m.Learning.Load() || m.Suspected.Load() {
			return often
		}
		in = min(in, m.SilentIn(g.probeInterval))
	}
	return max(in, time.Millisecond)
}

// wake has Run look at m now, if it is to find out how it is to be asked.
func (g *Group) wake(m *member.Member) {
	if l, ok := m.Server.(member.Learner); ok && !m.Learning.Load() && l.LearnDue() {
		select {
		case g.suspect <- struct{}{}:
		default:
		}
	}
}

// learn lets m find out how it is to be asked. A panic ends that and nothing
// else.
func (g *Group) learn(ctx context.Context, m *member.Member, l member.Learner) {
	defer m.Learning.Store(false)
	defer func() {
		if p := recover(); p != nil {
			g.logger.Error("upstream failed by a fault in the program", "group", g.name, "upstream", m.Server.Addr(),
				"panic", p, "stack", string(debug.Stack()))
		}
	}()
	l.Learn(ctx, g.probe)
}

// report logs what queries to m use now and did not before, and what they do not
// use any more. Only Run calls it.
func (g *Group) report(m *member.Member) {
	uses := m.InUse()
	for i, u := range uses {
		if i < len(m.Uses) && m.Uses[i].Used != u.Used {
			g.logger.Info("upstream is asked in another way from now on", "group", g.name, "upstream", m.Server.Addr(), u.What, u.Used)
		}
	}
	m.Uses = uses
}

// sendProbe sends one probe to m and notes the result.
func (g *Group) sendProbe(parent context.Context, m *member.Member) {
	ctx, cancel := context.WithTimeout(parent, g.attemptTimeout)
	defer cancel()
	m.Probes.Add(1)
	sent := time.Now()
	var quick atomic.Int64
	_, err := g.exchange(try.WithTook(try.With(ctx, try.Probing), &quick), m, g.probe, false)
	took := cmp.Or(time.Duration(quick.Load()), time.Since(sent))
	switch {
	case err == nil:
		m.Refused.Store(false)
		// What is in use is measured by what is asked for. A probe that was answered
		// in another way only took long since it was sent that way later.
		l, learns := m.Server.(member.Learner)
		usual := !learns || !l.Suspects()
		g.heardOf(m, sent, took, usual && (!m.Is(health.Up) || m.RTT.Smoothed() == 0))
	case parent.Err() == nil:
		m.ProbeFailures.Add(1)
		g.missed(m, sent, err, false)
		if m.Refused.Swap(false) && !errors.Is(err, ErrTimeout) {
			g.missed(m, sent, err, false) // a client's request was refused, too
		}
	}
}
