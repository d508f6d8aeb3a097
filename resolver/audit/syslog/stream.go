package syslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rideau/resolver/audit/dial"
	"rideau/resolver/audit/sink"
)

const (
	// connectPatience is how long a Write waits for a connection, roomPatience for
	// space in front of a slow one. The Sink's queue has to last so long.
	connectPatience = time.Second
	roomPatience    = 500 * time.Millisecond
	// inFlight is how many octets are taken before the network takes them.
	inFlight = 512 << 10
	// unread is how many octets that the server's kernel has acknowledged may wait
	// there to be read: the largest buffer that Linux makes by default.
	unread = 6 << 20
	// settling is how long a server that ended in good order may have kept in its
	// own memory what it had read.
	settling = 10 * time.Second
	// stall is how long one piece may take to be sent.
	stall = 30 * time.Second
)

// Stream is a Writer over connections. It implements [sink.Settler]. It is for one
// goroutine, and has others of its own.
type Stream struct {
	dial dial.Options
	link *link // nil: there is none
}

// NewStream makes a Stream to a server. It fails if a file of the options is
// wrong; it does not connect.
func NewStream(o dial.Options) (*Stream, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	return &Stream{dial: o}, nil
}

// Write implements sink.Writer. It takes all events or none.
func (s *Stream) Write(ctx context.Context, events [][]byte) (int, error) {
	if err := s.broken(); err != nil {
		return 0, err
	}
	if s.link == nil {
		s.link = connect(s.dial)
	}
	l := s.link
	if !wait(ctx, l.up, l.down, connectPatience) {
		select {
		case <-l.down:
			return 0, s.broken()
		default:
			return 0, fmt.Errorf("%s does not answer", s.dial.Address)
		}
	}
	for deadline := time.Now().Add(roomPatience); !l.add(events); {
		left := time.Until(deadline)
		if left <= 0 || !wait(ctx, l.room, l.down, left) {
			if err := s.broken(); err != nil {
				return 0, err
			}
			return 0, fmt.Errorf("%s does not read what is sent", s.dial.Address)
		}
	}
	return len(events), nil
}

// wait waits for good, and reports whether it came: bad did not come before, ctx
// did not end, and it took no longer than most.
func wait(ctx context.Context, good, bad <-chan struct{}, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-bad:
		return false
	default:
	}
	select {
	case <-good:
		return true
	case <-bad:
	case <-ctx.Done():
	case <-t.C:
	}
	return false
}

// broken gives up a connection that broke, and says what may be lost. It is nil
// if the server closed a connection that was not in use.
func (s *Stream) broken() error {
	if s.link == nil {
		return nil
	}
	select {
	case <-s.link.down:
	default:
		return nil
	}
	l := s.link
	s.link = nil
	if back := l.doubtful(); len(back) > 0 {
		return &sink.Returned{Events: back, Err: l.err}
	}
	if l.ended {
		return nil
	}
	return l.err
}

// Settle implements sink.Settler.
func (s *Stream) Settle(ctx context.Context, last bool) error {
	if s.link == nil {
		return nil
	}
	if last {
		s.link.finish(ctx)
	} else {
		s.link.trim()
	}
	var back *sink.Returned
	if err := s.broken(); errors.As(err, &back) {
		return back
	}
	return nil // nothing was lost: what comes next connects again
}

// Close implements sink.Writer.
func (s *Stream) Close() error {
	if s.link != nil {
		s.link.close()
		s.link = nil
	}
	return nil
}

// chunk is what one Write took.
type chunk struct {
	frames []byte // as they are sent
	at     []int  // where each event begins and ends in frames
	// end is what the connection had carried when the chunk was written, and
	// written when that was; before, zero.
	end     int64
	written time.Time
}

// newChunk frames events by counted octets (RFC 6587 section 3.4.1, RFC 5425
// section 4.3).
func newChunk(events [][]byte) *chunk {
	size := 0
	for _, e := range events {
		size += len(e) + 8
	}
	c := &chunk{frames: make([]byte, 0, size), at: make([]int, 0, 2*len(events))}
	for _, e := range events {
		c.frames = fmt.Appendf(c.frames, "%d ", len(e))
		c.at = append(c.at, len(c.frames))
		c.frames = append(c.frames, e...)
		c.at = append(c.at, len(c.frames))
	}
	return c
}

// events returns the events.
func (c *chunk) events() [][]byte {
	var out [][]byte
	for pair := range slices.Chunk(c.at, 2) {
		out = append(out, c.frames[pair[0]:pair[1]:pair[1]])
	}
	return out
}
