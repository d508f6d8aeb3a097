package session

import (
	"context"
	"sync"
	"time"

	"rideau/resolver"
	"rideau/resolver/limit"
)

// maxIdle is how many sessions an Exchange keeps for the next messages.
const maxIdle = 64

// Exchange answers single messages, for transports that have no batches. It is
// safe for concurrent use. It needs no goroutine.
type Exchange struct {
	core     *Core
	counters *resolver.Counters

	mu   sync.Mutex
	idle []*Session // guarded by mu: sessions of batches of one
}

// NewExchange makes an Exchange that counts queries in counters.
func (c *Core) NewExchange(counters *resolver.Counters) *Exchange {
	return &Exchange{core: c, counters: counters}
}

// Serve appends the response to msg to dst, and returns when it is there. A
// query that waits does so on the caller's goroutine, and ends when ctx or the
// Core does. Nothing is appended if no response is to be sent.
func (x *Exchange) Serve(ctx context.Context, dst, msg []byte, client Client) []byte {
	s := x.session()
	defer x.put(s)
	ans, waits := s.Answer(dst, msg, client, time.Now())
	if !waits {
		s.Count()
		return ans
	}
	var p limit.Permit
	if !s.Admit(&p) || !x.core.jobs.enter() {
		s.Release(&p)
		ans = s.Shed(dst)
		s.Count()
		return ans
	}
	defer x.core.jobs.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(x.core.jobs.ctx, cancel)()
	ans, o := x.core.resolve(ctx, dst, &s.q)
	s.Finish(&s.q, o, time.Now(), &p)
	return ans
}

// Submit has msg answered and the response sent by path: before it returns, or
// later, by a goroutine of its own, if the query waits. So a stream that
// carries many queries gets the responses in the order in which they are ready.
// Reply is called once, in any case.
func (x *Exchange) Submit(msg []byte, client Client, path Path) {
	s := x.session()
	defer x.put(s)
	buf := make([]byte, 512)
	ans, waits := s.Answer(buf[LengthLen:LengthLen], msg, client, time.Now())
	if waits {
		if j := s.AdmitJob(); j != nil {
			j.Start(path)
			return
		}
		ans = s.Shed(buf[LengthLen:LengthLen])
	}
	s.Count()
	x.core.reply(path, buf, ans)
}

func (x *Exchange) session() *Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := len(x.idle)
	if n == 0 {
		return x.core.NewSession(x.counters, 1)
	}
	s := x.idle[n-1]
	x.idle = x.idle[:n-1]
	return s
}

func (x *Exchange) put(s *Session) {
	s.Forget()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.idle) < maxIdle {
		x.idle = append(x.idle, s)
	}
}
