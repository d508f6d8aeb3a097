package do53

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"rideau/resolver/upstream/acceptance"
)

const (
	// streamFirst is how long TCP has alone before a second datagram is sent.
	streamFirst = 150 * time.Millisecond
	// streamGrace is how long after that two datagrams that agree wait for TCP
	// to say otherwise.
	streamGrace = 250 * time.Millisecond
	// linger is the same where TCP brings nothing: the true response may be on
	// its way behind a forged one.
	linger = 50 * time.Millisecond
	// mutedFor is how long TCP counts as silent after it has been so.
	mutedFor = 5 * time.Minute
	// maxConfirming is how many datagrams are sent at most until two agree.
	maxConfirming = 4
)

var errDoubtful = errors.New("no answer by TCP, and what comes by UDP may be forged")

// silence is until when the server's TCP is not expected to answer; nil if it is.
type silence struct{ until atomic.Pointer[time.Time] }

func (q *silence) is() bool {
	until := q.until.Load()
	return until != nil && time.Until(*until) > 0
}

func (q *silence) begin() {
	until := time.Now().Add(mutedFor)
	q.until.Store(&until)
}

// said is what an exchange that confirms has brought.
type said struct {
	msg    []byte
	result acceptance.Result
	err    error
	stream bool
	query  []byte // as it was sent, with a result that is Doubtful
}

// confirmation finds out what a server says to a query to which a datagram has
// come that is not believed by itself. It is used by one goroutine; its
// exchanges run on others, which end with ctx.
type confirmation struct {
	s     *Server
	ctx   context.Context
	f     frame
	came  chan said
	open  int // datagrams that may still bring something
	sent  int // datagrams
	mute  bool
	began time.Time
	seen  []acceptance.Doubt
	agree *said // brought the doubt that has been confirmed
	doubt acceptance.Doubt
}

// confirm asks for what a doubtful datagram said to f. Nobody off the path can
// answer over TCP, so that TCP is asked first. If it refuses, or is silent,
// datagrams with an id and a port each are sent, until one is beyond doubt, or
// two agree (RFC 7873 section 5.3). With a result that is Doubtful the query is
// to be sent anew.
func (s *Server) confirm(ctx context.Context, dst []byte, f frame, first acceptance.Doubt) ([]byte, acceptance.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &confirmation{s: s, ctx: ctx, f: f, came: make(chan said, 1+2*maxConfirming), began: time.Now(), seen: []acceptance.Doubt{first}}
	go c.overTCP(slices.Clone(f))
	timer := time.NewTimer(streamFirst)
	defer timer.Stop()
	if s.muted.is() {
		timer.Reset(linger)
	}
	for {
		select {
		case m := <-c.came:
			switch {
			case m.err == nil && m.result != acceptance.Doubtful:
				if !m.stream && !c.mute && time.Since(c.began) >= streamFirst+streamGrace {
					s.muted.begin()
				}
				return append(dst, m.msg...), m.result, nil
			case m.stream:
				if ctx.Err() != nil {
					return dst, 0, m.err
				}
				c.mute = true
				if c.agree != nil {
					timer.Reset(linger)
				} else if c.sent == 0 {
					c.send()
				}
			case m.err != nil:
				if c.open--; m.err == errDoubtful {
					c.send() // to a port that nobody guesses at yet
				}
			default:
				if c.note(m) {
					timer.Reset(c.patience())
				}
			}
			if c.mute && c.open == 0 && c.agree == nil {
				return dst, 0, cmp.Or(m.err, errDoubtful)
			}
		case <-timer.C:
			if c.agree != nil {
				return c.conclude(dst)
			}
			if c.sent == 0 {
				c.send()
			}
		case <-ctx.Done():
			return dst, 0, ctx.Err()
		}
	}
}

// overTCP asks over TCP.
func (c *confirmation) overTCP(f frame) {
	msg, result, err := c.s.askTCP(c.ctx, nil, f)
	c.came <- said{msg: msg, result: result, err: err, stream: true} // has space for all
}

// send sends one more datagram, and has what comes for it reported: the first
// doubt, and the first response beyond doubt or the end.
func (c *confirmation) send() {
	if c.sent == maxConfirming {
		return
	}
	c.sent++
	c.open++
	f := slices.Clone(c.f)
	go func() {
		u, err := c.s.send(c.ctx, f)
		if err != nil {
			c.came <- said{err: err}
			return
		}
		defer u.close()
		for doubted := false; ; {
			msg, result, err := u.next(nil)
			switch {
			case err != nil:
				c.came <- said{err: err}
				return
			case result != acceptance.Doubtful:
				c.came <- said{msg: msg, result: result}
				return
			case len(msg) == 0:
				c.came <- said{err: errDoubtful}
				return
			case !doubted:
				doubted = true
				c.came <- said{msg: msg, result: result, query: u.query}
			}
		}
	}()
}

// note notes a doubt, and reports whether it is the second of its kind. If it
// is not, one more datagram is sent.
func (c *confirmation) note(m said) bool {
	if c.agree != nil {
		return false
	}
	d := c.s.endpoint.DoubtOf(m.query, m.msg)
	if slices.ContainsFunc(c.seen, d.Confirms) {
		c.agree, c.doubt = &m, d
		return true
	}
	c.seen = append(c.seen, d)
	c.send()
	return false
}

// patience is how long doubts that agree wait for something better.
func (c *confirmation) patience() time.Duration {
	if c.mute || c.s.muted.is() {
		return linger
	}
	return streamGrace
}

// conclude believes the doubts that agree.
func (c *confirmation) conclude(dst []byte) ([]byte, acceptance.Result, error) {
	if !c.mute {
		c.s.muted.begin()
	}
	result, msg, _ := c.s.endpoint.Believe(c.doubt, c.agree.query, c.agree.msg)
	return append(dst, msg...), result, nil
}
