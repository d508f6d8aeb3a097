package resolvertest

import (
	"context"
	"time"

	"rideau/resolver"
	"rideau/resolver/batch"
)

// loopResolve finishes a query that Answer left pending as a worker with an event
// loop does: with Waiters, and with Resolve for the queries that they hand over.
// Responses take no time by this clock, but timeouts pass.
func loopResolve(r *run, dst []byte, q *resolver.Query) ([]byte, resolver.Outcome) {
	poller, err := batch.NewPoller()
	if err != nil {
		r.t.Error(err)
		return dst, resolver.Outcome{}
	}
	l := &loop{r: r, poller: poller, resolved: make(chan struct{})}
	w := r.resolver.Waiters(l, poller, 1)
	begun := time.Now()
	now := func() time.Time { return q.Received.Add(time.Since(begun)) }
	if _, ok := w.Begin(q); !ok {
		l.HandOver(0, q)
	}
	w.Send()
	r.nowWaits()
	turn := func() {
		n := poller.Wait(20 * time.Millisecond)
		for i := range n {
			if tag := poller.Tag(i); tag != batch.WakeTag {
				w.Receive(tag, r.clock.Now())
				continue
			}
			poller.Woken()
			<-l.resolved
			l.done = true
		}
		w.Expire(now())
	}
	for !l.done {
		turn()
	}
	if w.Waiting() != 0 {
		r.t.Errorf("%d queries wait after the answer", w.Waiting())
	}
	// Other queries may wait for a response that is still to come.
	go func() {
		for w.Open() > 0 {
			turn()
		}
		w.Close()
		poller.Close()
	}()
	return append(dst, l.answer...), l.outcome
}

// loop takes the answers of a loop.
type loop struct {
	r        *run
	poller   *batch.Poller
	answer   []byte
	outcome  resolver.Outcome
	done     bool
	resolved chan struct{}
}

func (l *loop) Buffer() []byte { return nil }

func (l *loop) Answered(_ uint32, _ *resolver.Query, answer []byte, o resolver.Outcome) {
	l.answer, l.outcome, l.done = append([]byte(nil), answer...), o, true
}

func (l *loop) HandOver(_ uint32, q *resolver.Query) {
	moved := *q
	moved.Msg = append([]byte(nil), q.Msg...)
	go func() {
		l.answer, l.outcome = l.r.resolver.Resolve(context.Background(), nil, &moved)
		close(l.resolved)
		l.poller.Wake()
	}()
}
