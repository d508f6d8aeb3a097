package doh

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"rideau/resolver"
	"rideau/resolver/listener/admission"
	"rideau/resolver/listener/session"
)

// HTTP/2 is served here, and not by net/http, whose goroutine for each request costs ten times what
// its query does. One goroutine reads a connection and answers what needs no waiting;
// the responses to all requests of one read leave with one write. Queries that wait are jobs.
//
// Ownership: the reader has what is not guarded by mu.

const (
	frameHeader   = 9
	maxFrame      = 16 << 10  // of a frame, in either direction
	streamWindow  = 68 << 10  // what a request may send: a message, and padding
	connWindow    = 256 << 10 // what all requests of a connection may send before they are answered
	defaultWindow = 65535     // RFC 9113 section 6.9.2
	maxWindow     = 1<<31 - 1 // the same, 6.9.1
	maxHeld       = 256 << 10 // octets of responses that a client has no window for
	maxIdleFrames = 1000      // frames between two requests that ask for nothing
	flushAt       = 8 << 10   // octets of responses that are written at once
)

// h2 is a connection by HTTP/2.
type h2 struct {
	l        *Listener
	nc       net.Conn
	place    *admission.Conn
	client   session.Client // of the last request
	br       *bufio.Reader
	frames   *http2.Framer
	queries  session.Session
	last     uint32 // the highest stream that the client has opened
	credit   int    // octets of requests that the client may send again
	window   int    // octets of requests that it may send
	idle     int    // frames since the last request
	asked    time.Time
	scratch  []byte // for a query
	response []byte // for a response

	pending atomic.Int64 // queries that wait
	drain   atomic.Bool

	mu      sync.Mutex
	out     []byte             // guarded by mu, as what follows: not yet written
	streams map[uint32]*stream // whose request is not whole, or whose response is not sent
	send    int64              // octets of responses that the client takes
	initial int64              // the same, of a new stream
	largest int                // frame that the client takes
	held    int                // octets in streams' rest
	broken  bool
}

// stream is a request that was not answered at once. It is the Path of its query.
type stream struct {
	c        *h2
	id       uint32
	request  request
	body     []byte
	taken    int // octets of the connection's window that the request has
	begun    time.Time
	received bool   // the request is whole
	done     bool   // the client has given it up
	send     int64  // octets that the client takes; guarded by c.mu
	rest     []byte // of the response; guarded by c.mu
	blocked  time.Time
}

// request is what a header says.
type request struct {
	method, path, query      string
	forwarded, xForwardedFor []string
	length                   int64 // of the body; -1 if it does not say
	fault                    error // why it is not answered
}

// serveH2 serves a connection that speaks HTTP/2, until it ends.
func (l *Listener) serveH2(nc *tls.Conn, place *admission.Conn) {
	from, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	c := &h2{l: l, nc: nc, place: place, br: bufio.NewReaderSize(nc, maxFrame), queries: *l.core.NewSession(l.counters, 8), asked: time.Now(),
		window: connWindow, response: make([]byte, 0, bufferSize), streams: map[uint32]*stream{}, send: defaultWindow, initial: defaultWindow, largest: maxFrame}
	state := nc.ConnectionState()
	c.client = session.Client{Addr: from.Addr().Unmap().WithZone(""), Transport: resolver.DoH, Claims: l.o.Secure.Claims(&state)}
	if !l.addH2(c) {
		return
	}
	defer l.removeH2(c)
	defer func() { // net/http would hide it
		if p := recover(); p != nil {
			l.core.Panicked(p, "http2")
		}
	}()
	c.frames = http2.NewFramer(io.Discard, c.br)
	c.frames.SetReuseFrames()
	c.frames.SetMaxReadFrameSize(maxFrame)
	c.frames.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.frames.MaxHeaderListSize = maxHeader
	code := c.serve()
	c.mu.Lock()
	c.out = appendGoAway(c.out, c.last, code)
	c.flushLocked()
	c.broken = true
	c.mu.Unlock()
	if code != http2.ErrCodeNo { // what the client has sent meanwhile must not cost it the reason
		nc.CloseWrite()
		nc.SetReadDeadline(time.Now().Add(farewell))
		io.CopyN(io.Discard, nc, connWindow)
	}
	nc.Close()
	for c.pending.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// errEnd ends a connection without an error.
var errEnd = errors.New("the end")

// serve reads frames until the connection ends, and returns the code of the reason.
func (c *h2) serve() http2.ErrCode {
	c.nc.SetReadDeadline(time.Now().Add(c.l.o.MessageTimeout))
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.br, preface); err != nil || string(preface) != http2.ClientPreface {
		return http2.ErrCodeProtocol
	}
	c.mu.Lock()
	c.out = appendSettings(c.out, http2.SettingMaxConcurrentStreams, uint32(c.l.o.MaxStreams), http2.SettingInitialWindowSize, streamWindow, http2.SettingMaxHeaderListSize, maxHeader)
	c.out = appendWindow(c.out, 0, connWindow-defaultWindow)
	c.mu.Unlock()
	first := true
	for {
		if err := c.await(); err != nil {
			return codeOf(err)
		}
		f, err := c.frames.ReadFrame()
		if _, ok := f.(*http2.SettingsFrame); first && (err != nil || !ok) {
			return http2.ErrCodeProtocol
		}
		first = false
		if err == nil {
			err = c.frame(f)
		}
		var se http2.StreamError
		if errors.As(err, &se) {
			if se.StreamID%2 == 1 {
				c.last = max(c.last, se.StreamID)
			}
			c.reset(se.StreamID, se.Code)
			continue
		}
		if err != nil {
			return codeOf(err)
		}
	}
}

// codeOf is the code that a connection ends with.
func codeOf(err error) http2.ErrCode {
	var ce http2.ConnectionError
	switch {
	case errors.As(err, &ce):
		return http2.ErrCode(ce)
	case errors.Is(err, http2.ErrFrameTooLarge):
		return http2.ErrCodeFrameSize
	}
	return http2.ErrCodeNo
}

// await waits for a frame to begin, and writes what there is to write before it does. It sets the time until
// which the frame has to be whole.
func (c *h2) await() error {
	if whole(c.br) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.out) >= flushAt {
			c.queries.Count()
			return c.flushLocked()
		}
		return nil
	}
	c.queries.Forget()
	if err := c.flush(); err != nil {
		return err
	}
	for c.br.Buffered() == 0 {
		until, _ := c.deadline()
		c.nc.SetReadDeadline(until)
		if _, busy := c.deadline(); !busy && c.drain.Load() { // looked at after that: see settled
			return errEnd
		}
		_, err := c.br.Peek(1)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if err := c.expire(time.Now()); err != nil {
			return err
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.nc.SetReadDeadline(time.Now().Add(c.l.o.MessageTimeout))
	return nil
}

// whole reports whether a whole frame was read.
func whole(br *bufio.Reader) bool {
	if br.Buffered() < frameHeader {
		return false
	}
	h, _ := br.Peek(3)
	return br.Buffered() >= frameHeader+(int(h[0])<<16|int(h[1])<<8|int(h[2]))
}

// deadline is when the connection has to be looked at, and whether anything is asked on it.
func (c *h2) deadline() (until time.Time, busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	until = c.asked.Add(c.l.o.IdleTimeout)
	if len(c.streams) > 0 || c.pending.Load() > 0 {
		until, busy = time.Now().Add(c.l.o.IdleTimeout), true
	}
	for _, s := range c.streams {
		at := s.begun.Add(c.l.o.MessageTimeout)
		switch {
		case !s.blocked.IsZero():
			at = s.blocked.Add(c.l.o.WriteTimeout)
		case s.received:
			continue
		}
		if at.Before(until) {
			until = at
		}
	}
	return until, busy
}

// expire ends the streams that take too long, and reports the end of the connection if it has been idle for long.
func (c *h2) expire(now time.Time) error {
	c.mu.Lock()
	var late []*stream
	for _, s := range c.streams {
		if !s.blocked.IsZero() && now.Sub(s.blocked) >= c.l.o.WriteTimeout || !s.received && now.Sub(s.begun) >= c.l.o.MessageTimeout {
			late = append(late, s)
		}
	}
	busy := len(c.streams) > len(late) || c.pending.Load() > 0
	c.mu.Unlock()
	for _, s := range late {
		if !s.received {
			c.refuse(s.id, errBody)
		}
		c.reset(s.id, http2.ErrCodeCancel)
	}
	if !busy && len(late) == 0 && (now.Sub(c.asked) >= c.l.o.IdleTimeout || c.drain.Load()) {
		return errEnd
	}
	return nil
}

// frame takes a frame. The error is a StreamError, or ends the connection.
func (c *h2) frame(f http2.Frame) error {
	if c.idle++; c.idle > maxIdleFrames {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.out = appendPong(c.out, f.Data)
		}
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.remove(f.StreamID)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case *http2.GoAwayFrame:
		c.drain.Store(true)
	}
	return nil
}

// settings takes the client's settings.
func (c *h2) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingMaxFrameSize:
			c.largest = min(int(s.Val), maxFrame)
		case http2.SettingInitialWindowSize:
			change := int64(s.Val) - c.initial
			c.initial = int64(s.Val)
			for _, x := range c.streams {
				if x.send += change; x.send > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.out = appendSettingsAck(c.out)
	for _, s := range c.streams {
		c.continueLocked(s)
	}
	return nil
}

// windowUpdate takes what the client takes more.
func (c *h2) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.send += int64(f.Increment); c.send > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for _, s := range c.streams {
			c.continueLocked(s)
		}
		return nil
	}
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return nil
	}
	if s.send += int64(f.Increment); s.send > maxWindow {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	c.continueLocked(s)
	return nil
}

// remove forgets a stream, and gives its octets back.
func (c *h2) remove(id uint32) {
	c.mu.Lock()
	s := c.streams[id]
	if s != nil {
		s.done = true
		c.forgetLocked(s)
		c.restLocked()
	}
	c.mu.Unlock()
	if s != nil {
		c.giveBack(s.taken)
		s.taken = 0
	}
}

// forgetLocked takes a stream out of the table.
func (c *h2) forgetLocked(s *stream) {
	delete(c.streams, s.id)
	c.held -= len(s.rest)
	s.rest = nil
}

// reset ends a stream with a code.
func (c *h2) reset(id uint32, code http2.ErrCode) {
	c.remove(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendReset(c.out, id, code)
}

func (c *h2) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flushLocked()
}

// flushLocked writes what there is to write.
func (c *h2) flushLocked() error {
	if c.broken {
		return net.ErrClosed
	}
	if len(c.out) == 0 {
		return nil
	}
	c.nc.SetWriteDeadline(time.Now().Add(c.l.o.MessageTimeout))
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > 4*flushAt {
		c.out = nil
	}
	if err != nil {
		c.broken = true
		c.nc.Close()
	}
	return err
}
