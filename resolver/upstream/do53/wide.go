package do53

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/try"
)

const (
	// plainAfter is how long a probe waits for a response before it is sent in a
	// plainer shape, too.
	plainAfter = 200 * time.Millisecond
	// streamAfter is how long after that it is sent over TCP, too.
	streamAfter = 300 * time.Millisecond
)

// wide is an exchange in several ways at a time. One goroutine uses it; the ways
// run on others, which end with ctx.
type wide struct {
	s     *Server
	ctx   context.Context
	query []byte
	came  chan wideEnd
	open  int
}

// wideEnd is the end of one way.
type wideEnd struct {
	msg   []byte
	err   error
	first bool // it was the way that the server is asked usually
	plain bool // it was over UDP, without OPT record
}

// exchangeWide asks a server that has not answered a query, or that is probed: as
// usual, and then also in a way that a firewall lets pass, or a server
// understands, that has dropped the usual one. The first response counts. If it
// is to another way, Learn finds out what it was that got lost.
func (s *Server) exchangeWide(ctx context.Context, dst, query []byte, t try.Try) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &wide{s: s, ctx: ctx, query: slices.Clone(query), came: make(chan wideEnd, 3)}
	w.run(wideEnd{first: true}, w.usual)
	streams := s.endpoint.Streams()
	var next []func()
	if (s.endpoint.Shape() != acceptance.Plain || streams) && !s.endpoint.NeedsCookie() {
		next = append(next, func() { w.run(wideEnd{plain: true}, w.plain) })
	}
	wait := time.Duration(0)
	if t == try.Probing {
		wait = plainAfter
		if !streams {
			next = append(next, func() { w.run(wideEnd{}, w.overTCP) })
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var failed error
	for {
		select {
		case e := <-w.came:
			w.open--
			switch {
			case e.err == nil:
				if !e.first {
					s.suspect(query)
				}
				return append(dst, e.msg...), nil
			case e.first && !streams && !silentError(e.err):
				return dst, e.err // it was refused, and that is soon enough
			case failed == nil || e.first:
				failed = e.err
			}
			if e.plain && !silentError(e.err) {
				s.suspect(query) // it was answered, and is too long for UDP
			}
			if w.open == 0 && len(next) == 0 {
				return dst, failed
			}
		case <-timer.C:
			if len(next) == 0 {
				continue
			}
			next[0]()
			next = next[1:]
			timer.Reset(streamAfter)
		case <-ctx.Done():
			return dst, ctx.Err()
		}
	}
}

// silentError reports whether an error says that there was no response.
func silentError(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// run begins a way, whose end is e.
func (w *wide) run(e wideEnd, way func() ([]byte, error)) {
	w.open++
	go func() {
		e.msg, e.err = way()
		w.came <- e // has space for all
	}()
}

// usual asks as the server is asked usually.
func (w *wide) usual() ([]byte, error) {
	if w.s.endpoint.Streams() {
		return w.s.ExchangeStream(w.ctx, nil, w.query)
	}
	return w.s.exchangeAs(w.ctx, nil, w.query, w.s.endpoint.Shape())
}

// plain asks over UDP without OPT record.
func (w *wide) plain() ([]byte, error) {
	f := newFrame(w.query)
	if hasOPT(w.query) {
		f = f.withoutOPT()
	}
	bits := w.s.caseBits()
	if !w.s.endpoint.KeepsCase() {
		bits = nil // it may be what is not answered
	}
	m, _ := w.s.endpoint.Protect(f.message(), bits, false)
	out, _, err := w.s.ask(w.ctx, nil, append(f[:2], m...).withLength())
	return out, err
}

// overTCP asks over TCP.
func (w *wide) overTCP() ([]byte, error) { return w.s.ExchangeStream(w.ctx, nil, w.query) }

// exchangeWithoutCookie asks a server that finds no cookie good enough: over
// TCP, where it needs none, and, where TCP brings nothing soon, over UDP without
// a cookie. f has one.
func (s *Server) exchangeWithoutCookie(ctx context.Context, dst []byte, f frame) ([]byte, acceptance.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	came := make(chan said, 2)
	go func() {
		msg, result, err := s.askTCP(ctx, nil, slices.Clone(f))
		came <- said{msg: msg, result: result, err: err, stream: true}
	}()
	timer := time.NewTimer(streamFirst)
	defer timer.Stop()
	begun := false
	bare := func() {
		if begun {
			return
		}
		begun = true
		g := slices.Clone(f).withoutOptions()
		go func() {
			msg, result, err := s.ask(ctx, nil, g)
			came <- said{msg: msg, result: result, err: err}
		}()
	}
	for ended := 0; ; {
		select {
		case m := <-came:
			if ended++; m.err == nil && m.result != acceptance.RefusesCookie {
				s.endpoint.WantCookie()
				s.endpoint.Observe(acceptance.LosesCookie)
				return append(dst, m.msg...), m.result, nil
			}
			if ended == 2 {
				return dst, 0, errDoubtful
			}
			bare()
		case <-timer.C:
			bare()
		case <-ctx.Done():
			return dst, 0, ctx.Err()
		}
	}
}
