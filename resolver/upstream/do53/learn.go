package do53

import (
	"context"
	"slices"
	"sync"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

const (
	// studyTime is how long a server has at most to answer what Learn sends, and
	// studyGrace how long the others have after the first response.
	studyTime  = 2 * time.Second
	studyGrace = 150 * time.Millisecond
	// studies is how many are made at most to find one habit, studyEvery apart.
	studies    = 3
	studyEvery = 250 * time.Millisecond
	// calmFor is how long after a study of a server that answers whole queries
	// there is no other: queries get lost, and names take long.
	calmFor = 30 * time.Second
	// nothingFor is the same after a study that nothing has answered.
	nothingFor = 5 * time.Second
)

// suspect notes a query that was answered, but not in the usual way.
func (s *Server) suspect(query []byte) {
	if calm := s.calmUntil.Load(); s.suspected.Load() || calm != nil && time.Until(*calm) > 0 {
		return
	}
	q := slices.Clone(query)
	s.subject.Store(&q)
	s.suspected.Store(true)
}

// Suspect implements [member.Learner].
func (s *Server) Suspect(query []byte) {
	if !s.stream {
		s.suspect(query)
	}
}

// LearnDue implements [member.Learner].
func (s *Server) LearnDue() bool {
	e := s.endpoint
	return !s.stream && (s.suspected.Load() || e.ReviewDue() || e.CookieDue() > 0 || e.CaseDue() > 0)
}

// Suspects implements [member.Learner].
func (s *Server) Suspects() bool { return s.suspected.Load() }

// Learn implements [member.Learner]. It finds out which part of a query it was
// that the server did not answer, whether it still does not, and whether it gives
// cookies and keeps the case of names.
func (s *Server) Learn(ctx context.Context, probe []byte) {
	suspected := s.suspected.Load()
	if suspected || s.endpoint.ReviewDue() {
		subject := probe
		if q := s.subject.Load(); q != nil {
			subject = *q
		}
		s.review(ctx, subject)
		s.suspected.Store(false)
	}
	if n := s.endpoint.CookieDue(); n > 0 && ctx.Err() == nil {
		s.tryCookie(ctx, probe, n)
	}
	if n := s.endpoint.CaseDue(); n > 0 && ctx.Err() == nil {
		if q := s.lettered.Load(); q != nil {
			probe = *q
		}
		s.tryCase(ctx, probe, n)
	}
}

// review studies how the server answers query until it is known.
func (s *Server) review(ctx context.Context, query []byte) {
	whole := 0
	for i := range studies {
		if i > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(studyEvery):
			}
		}
		switch habit, found := s.study(ctx, query); {
		case found == foundWhole:
			if whole++; whole == 2 || s.endpoint.ByDatagram() {
				s.endpoint.AnswersWhole()
				s.rest(calmFor)
				return
			}
		case found == foundHabit && s.endpoint.Observe(habit):
			return
		case found == foundNothing:
			s.endpoint.Reviewed()
			s.rest(nothingFor)
			return
		}
	}
}

// rest has no study made for a while.
func (s *Server) rest(d time.Duration) {
	until := time.Now().Add(d)
	s.calmUntil.Store(&until)
}

// finding is what a study has found.
type finding uint8

const (
	foundNothing finding = iota
	foundWhole           // the server answers the whole query
	foundHabit
)

// way is one of the queries of a study.
type way struct {
	habit acceptance.Habit
	whole bool
	f     frame
}

// waysOf are the queries of a study: the whole one twice, and it without each of
// the things that may be what is not answered.
func (s *Server) waysOf(query []byte) []way {
	e := s.endpoint
	make := func(shape acceptance.Shape, mix, cookie bool) frame {
		f := newFrame(query)
		m := acceptance.Shaped(f.message(), shape)
		f = append(f[:2], m...).withLength()
		bits := s.caseBits()
		if !mix {
			bits = nil
		}
		m, _ = e.Protect(f.message(), bits, false)
		f = append(f[:2], m...).withLength()
		if !cookie {
			f = f.withoutOptions()
		}
		return f
	}
	whole := make(acceptance.Whole, true, true)
	ways := []way{{whole: true, f: whole}, {whole: true, f: slices.Clone(whole)}}
	if bare := make(acceptance.Whole, true, false); len(bare) < len(whole) {
		ways = append(ways, way{habit: acceptance.MindsCookies, f: bare})
	}
	if e.MixesCase() {
		ways = append(ways, way{habit: acceptance.MindsCase, f: make(acceptance.Whole, false, true)})
	}
	if !hasOPT(query) {
		return ways
	}
	ways = append(ways, way{habit: acceptance.NeedsSmall, f: make(acceptance.Small, true, true)})
	if f := make(acceptance.WithoutDO, true, true); string(f.message()[2:]) != string(whole.message()[2:]) {
		ways = append(ways, way{habit: acceptance.MindsDO, f: f})
	}
	return append(ways, way{habit: acceptance.MindsEDNS, f: make(acceptance.Plain, true, false)},
		way{habit: acceptance.MindsEDNS, f: make(acceptance.Plain, false, false)})
}

// study sends a query in all ways at once, and returns what the first way that
// is answered lacks, if the whole query is not answered. Where UDP brings nothing
// TCP is asked.
func (s *Server) study(ctx context.Context, query []byte) (acceptance.Habit, finding) {
	ways := s.waysOf(query)
	answered, forged := s.sendAll(ctx, ways)
	switch at := slices.Index(answered, true); {
	case at >= 0 && ways[at].whole:
		return 0, foundWhole
	case forged || ctx.Err() != nil:
		return 0, foundNothing
	case at >= 0:
		return ways[at].habit, foundHabit
	}
	ctx, cancel := context.WithTimeout(ctx, studyTime)
	defer cancel()
	if _, result, err := s.askTCP(ctx, nil, slices.Clone(ways[0].f)); err == nil && result == acceptance.Answer {
		return acceptance.NeedsStream, foundHabit
	}
	return 0, foundNothing
}

// sendAll sends all ways, and reports which are answered, and whether there were
// messages that are no response. It waits no longer once a whole query is.
func (s *Server) sendAll(ctx context.Context, ways []way) (answered []bool, forged bool) {
	ctx, cancel := context.WithTimeout(ctx, studyTime)
	defer cancel()
	answered = make([]bool, len(ways))
	type end struct {
		at       int
		ok, odds bool
	}
	came := make(chan end, len(ways))
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i, w := range ways {
		all.Go(func() {
			msg, odds := s.askOnce(ctx, w.f)
			came <- end{i, msg != nil && usable(msg), odds}
		})
	}
	grace := time.NewTimer(studyTime)
	defer grace.Stop()
	for range ways {
		select {
		case e := <-came:
			forged = forged || e.odds
			if e.ok && !slices.Contains(answered, true) {
				grace.Reset(studyGrace)
			}
			if answered[e.at] = e.ok; e.ok && ways[e.at].whole {
				return answered, forged
			}
		case <-grace.C:
			return answered, forged
		}
	}
	return answered, forged
}

// usable reports whether a response answers its question, or says that it is too
// long to.
func usable(msg []byte) bool {
	return wire.Flags(msg)&wire.FlagTC != 0 || acceptance.Judge(msg) == acceptance.Answer
}

// askOnce sends f in one datagram and returns the first response, whatever its
// case and its cookie; nil if there is none. odds is whether other messages came.
func (s *Server) askOnce(ctx context.Context, f frame) (msg []byte, odds bool) {
	u, err := s.send(ctx, f)
	if err != nil {
		return nil, false
	}
	defer u.close()
	for range acceptance.MaxMismatches {
		msg, err := u.r.next()
		if err != nil {
			return nil, odds
		}
		if wire.Matches(u.query, msg) {
			return slices.Clone(msg), odds
		}
		odds = true
		s.endpoint.Mismatched()
	}
	return nil, odds
}

// tryCookie finds out whether the server gives a cookie to each of n queries.
func (s *Server) tryCookie(ctx context.Context, probe []byte, n int) {
	var mu sync.Mutex // guards what follows
	var cookie []byte
	given, answered := 0, 0
	s.each(ctx, n, func(ctx context.Context) {
		f := newFrame(probe)
		m, _ := s.endpoint.Protect(f.message(), s.caseBits(), true)
		f = append(f[:2], m...).withLength()
		msg, _ := s.askOnce(ctx, f)
		mu.Lock()
		defer mu.Unlock()
		if msg == nil {
			return
		}
		if answered++; acceptance.OwnCookie(f.message(), msg) != nil {
			given++
			s.endpoint.Proves(f.message(), msg)
			cookie = acceptance.OwnCookie(f.message(), msg)
		}
	})
	if ctx.Err() != nil {
		return
	}
	if given < n {
		cookie = nil
	}
	s.endpoint.CookieTried(cookie, answered > given)
}

// tryCase finds out whether the server keeps the case of n queries.
func (s *Server) tryCase(ctx context.Context, probe []byte, n int) {
	var mu sync.Mutex // guards kept
	kept := 0
	s.each(ctx, n, func(ctx context.Context) {
		f := newFrame(probe)
		acceptance.MixCase(f.message())
		if msg, _ := s.askOnce(ctx, f); msg != nil && acceptance.SameCase(f.message(), msg) {
			mu.Lock()
			kept++
			mu.Unlock()
		}
	})
	if ctx.Err() == nil {
		s.endpoint.CaseTried(kept == n)
	}
}

// each calls ask n times at once, with the time that a study has.
func (s *Server) each(ctx context.Context, n int, ask func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, studyTime)
	defer cancel()
	var all sync.WaitGroup
	for range n {
		all.Go(func() { ask(ctx) })
	}
	all.Wait()
}
