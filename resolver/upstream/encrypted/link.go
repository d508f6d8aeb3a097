package encrypted

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/upstream/latency"
)

const (
	// A link is doubted when not an octet has come for SRTT + 4 RTTVAR, within
	// these bounds, while a query waits.
	minPatience     = 300 * time.Millisecond
	unknownPatience = 500 * time.Millisecond
	maxPatience     = 1500 * time.Millisecond
)

// link is what queries go over: a QUIC connection, or the connections of an HTTP
// client. It opens one anew that was closed.
type link struct {
	// ask sends a message and returns the response to it.
	ask func(ctx context.Context, m []byte) ([]byte, error)
	// close closes what is idle. Queries go on.
	close func()
	// octets counts what has come over the link, whatever it was. It may begin anew
	// with a new connection.
	octets func() uint64
	// heard is when a response came, in nanoseconds since links.began; 0 if none
	// has.
	heard atomic.Int64
}

// links are the link to a server, and those that it had before. A link that brings
// not an octet for longer than the server usually takes is doubted: a firewall, a tunnel
// or a sleep may have lost it, which nobody is told of. Then the query is sent over a
// new one as well, which is used from then on, unless the old one turns out to have
// been slow. It is safe for concurrent use.
type links struct {
	open  func() *link
	began time.Time
	pace  latency.Estimator

	mu  sync.Mutex
	now *link // guarded by mu; nil if there is none
}

func newLinks(open func() *link) *links { return &links{open: open, began: time.Now()} }

// close closes what is idle, and gives up the link.
func (l *links) close() {
	l.mu.Lock()
	now := l.now
	l.now = nil
	l.mu.Unlock()
	if now != nil {
		now.close()
	}
}

func (l *links) current() *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil {
		l.now = l.open()
	}
	return l.now
}

// instead returns a link to use instead of k, which is doubted.
func (l *links) instead(k *link) *link {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == k || l.now == nil {
		l.now = l.open()
	}
	return l.now
}

// restore has k used again, which was slow, unless the one that took its place has
// brought something.
func (l *links) restore(k, other *link) {
	l.mu.Lock()
	back := l.now == other && other.heard.Load() == 0
	if back {
		l.now = k
	}
	l.mu.Unlock()
	if back {
		other.close()
	} else {
		k.close()
	}
}

// second is a query that may be sent over another link as well.
type second struct {
	l           *links
	m           []byte
	first       *link
	sent        time.Duration
	ctx         context.Context // of the exchange
	cancelFirst context.CancelFunc
	octets      uint64        // that had come over first when m was sent
	patience    time.Duration // how long first may bring none
	firstEnded  chan struct{} // closed when the first has ended

	mu     sync.Mutex
	over   bool               // guarded by mu: the first has ended well
	cancel context.CancelFunc // guarded by mu: of the second; nil before

	ended sync.WaitGroup // what follows is set
	other *link          // nil if there was no second
	resp  []byte
	err   error
}

// exchange sends m and returns the response.
func (l *links) exchange(ctx context.Context, m []byte) ([]byte, error) {
	k := l.current()
	sent := time.Since(l.began)
	if k.heard.Load() == 0 { // it is being opened, or has been just now
		resp, err := k.ask(ctx, m)
		if err == nil {
			l.note(k, sent)
		}
		return resp, err
	}
	first, cancelFirst := context.WithCancel(ctx)
	defer cancelFirst()
	s := &second{l: l, m: m, first: k, sent: sent, ctx: ctx, cancelFirst: cancelFirst, octets: k.octets(),
		patience: min(l.pace.Limit(minPatience, unknownPatience), maxPatience), firstEnded: make(chan struct{})}
	s.ended.Add(1)
	timer := time.AfterFunc(s.patience, s.run)
	resp, err := k.ask(first, m)
	close(s.firstEnded)
	if err == nil {
		l.note(k, sent)
	}
	if timer.Stop() {
		return resp, err
	}
	if err == nil {
		s.finish()
	}
	s.ended.Wait()
	switch {
	case s.other == nil || err != nil && s.err != nil:
		return resp, err
	case err == nil:
		if s.err != nil {
			l.restore(k, s.other)
		}
		return resp, nil
	}
	k.close()
	return s.resp, nil
}

// finish ends the second, since the first has the response.
func (s *second) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.cancel != nil {
		s.cancel()
	}
}

// begin is the context of the second; nil if there is to be none, since the first
// has ended, or has brought something.
func (s *second) begin() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.first.heard.Load() > int64(s.sent) {
		return nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.cancel = cancel
	return ctx
}

// whileAlive returns when the first has ended, or has brought no octet for a while:
// a link that brings something is not lost, and its server just slow.
func (s *second) whileAlive() {
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	for now := s.first.octets(); now != s.octets; now = s.first.octets() {
		s.octets = now
		timer.Reset(s.patience)
		select {
		case <-timer.C:
		case <-s.firstEnded:
			return
		}
	}
}

// run sends the query over another link.
func (s *second) run() {
	defer s.ended.Done()
	s.whileAlive()
	ctx := s.begin()
	if ctx == nil {
		return
	}
	defer s.cancel()
	s.other = s.l.instead(s.first)
	at := time.Since(s.l.began)
	s.resp, s.err = s.other.ask(ctx, s.m)
	if s.err == nil {
		s.l.note(s.other, at)
		s.cancelFirst()
	}
}

// note notes a response to what was sent over k at that time.
func (l *links) note(k *link, sent time.Duration) {
	now := time.Since(l.began)
	k.heard.Store(int64(now))
	l.pace.Observe(now - sent)
}

// check is an error if resp is no response to what was sent.
func check(sent, resp []byte) error {
	if result, _ := acceptance.Accept(acceptance.Encrypted, nil, sent, resp); result == acceptance.Mismatch {
		return errMismatch
	}
	return nil
}
