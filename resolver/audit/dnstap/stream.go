package dnstap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	framestream "github.com/farsightsec/golang-framestream"

	"rideau/resolver/audit/sink"
)

// ContentType is the content type of dnstap in Frame Streams.
const ContentType = "protobuf:dnstap.Dnstap"

const (
	// patience is how long the reader may take for its part of a handshake, and to
	// make space for what is written.
	patience = 10 * time.Second
	// lastPatience is how long a Write goes on after its context has ended.
	lastPatience = 500 * time.Millisecond
	// doubt is how long an event counts as one that the reader may not have read.
	// Frame Streams acknowledge only the end of a stream.
	doubt = 10 * time.Second
	// maxDoubt bounds the octets that are kept for that.
	maxDoubt = 4 << 20
)

// Stream is a Writer of a bidirectional Frame Stream. It is for one goroutine. It
// implements [sink.Writer] and [sink.Settler]: when a connection breaks, it gives
// back what it wrote within the last ten seconds.
type Stream struct {
	dial   func(context.Context) (net.Conn, error)
	conn   *watched // nil: there is none
	frames *framestream.Writer
	recent []written
	octets int // of recent
}

// written is an event that the reader may not have read.
type written struct {
	at    time.Time
	event []byte
}

// NewStream makes a Stream that connects by dial when it is first needed.
func NewStream(dial func(context.Context) (net.Conn, error)) *Stream { return &Stream{dial: dial} }

// Write implements sink.Writer.
func (s *Stream) Write(ctx context.Context, events [][]byte) (int, error) {
	if err := s.Settle(ctx, false); err != nil {
		return 0, err
	}
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return 0, err
		}
	}
	conn := s.conn
	if err := conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, s.broken(err)
	}
	// What is being written may end, so that it need not be written again.
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now().Add(lastPatience)) })()
	for _, e := range events {
		if _, err := s.frames.WriteFrame(e); err != nil {
			return 0, s.broken(err)
		}
	}
	if err := s.frames.Flush(); err != nil {
		return 0, s.broken(err)
	}
	now := time.Now()
	for _, e := range events {
		s.recent = append(s.recent, written{now, append([]byte(nil), e...)})
		s.octets += len(e)
	}
	s.forget(now)
	return len(events), nil
}

// connect connects and makes the handshake.
func (s *Stream) connect(ctx context.Context) error {
	nc, err := s.dial(ctx)
	if err != nil {
		return err
	}
	conn := &watched{Conn: nc}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	var frames *framestream.Writer
	err = conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		frames, err = framestream.NewWriter(conn, &framestream.WriterOptions{ContentTypes: [][]byte{[]byte(ContentType)}, Bidirectional: true})
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return fmt.Errorf("the handshake of Frame Streams: %w", err)
	}
	conn.watch()
	s.conn, s.frames = conn, frames
	return nil
}

// forget forgets what the reader must have read.
func (s *Stream) forget(now time.Time) {
	n := 0
	for n < len(s.recent) && (now.Sub(s.recent[n].at) > doubt || s.octets > maxDoubt) {
		s.octets -= len(s.recent[n].event)
		n++
	}
	if n > 0 {
		s.recent = append([]written(nil), s.recent[n:]...)
	}
}

// broken ends the connection, and returns an error that gives back what may be
// lost.
func (s *Stream) broken(err error) error {
	s.conn.Close()
	s.forget(time.Now())
	back := &sink.Returned{Err: err}
	for _, w := range s.recent {
		back.Events = append(back.Events, w.event)
	}
	s.conn, s.frames, s.recent, s.octets = nil, nil, nil, 0
	if len(back.Events) == 0 {
		return err
	}
	return back
}

// Settle implements sink.Settler. The last one ends the stream: all arrived if the
// reader confirms that.
func (s *Stream) Settle(ctx context.Context, last bool) error {
	if s.conn == nil {
		return nil
	}
	if err := s.conn.ended(); err != nil {
		return s.broken(err)
	}
	if !last {
		return nil
	}
	conn := s.conn
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	err := conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		err = s.frames.Close()
	}
	if err != nil {
		return s.broken(fmt.Errorf("the end of the Frame Stream: %w", err))
	}
	conn.Close()
	s.conn, s.frames, s.recent, s.octets = nil, nil, nil, 0
	return nil
}

// Close implements sink.Writer.
func (s *Stream) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn, s.frames = nil, nil
	return err
}

// watched is a connection of which a goroutine reads, to notice the end before
// something is written in vain. What it reads is for Read.
type watched struct {
	net.Conn
	in *io.PipeReader // nil until watch is called

	mu  sync.Mutex
	err error // guarded by mu: why reading ended
}

func (w *watched) watch() {
	in, out := io.Pipe()
	w.in = in
	go func() {
		var b [512]byte
		for {
			n, err := w.Conn.Read(b[:])
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = errors.New("the reader closed the connection")
				}
				w.mu.Lock()
				w.err = err
				w.mu.Unlock()
				out.CloseWithError(err)
				return
			}
			if _, err := out.Write(b[:n]); err != nil {
				return
			}
		}
	}()
}

// ended returns why the connection ended; nil if it did not.
func (w *watched) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *watched) Read(b []byte) (int, error) {
	if w.in == nil {
		return w.Conn.Read(b)
	}
	return w.in.Read(b)
}

func (w *watched) Close() error {
	if w.in != nil {
		w.in.Close()
	}
	return w.Conn.Close()
}
