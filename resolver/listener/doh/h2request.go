package doh

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"rideau/resolver/listener/proxied"
	"rideau/resolver/listener/session"
	"rideau/resolver/wire"
)

// headers takes the header of a request, or what comes after its body.
func (c *h2) headers(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	protocol := http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if id <= c.last {
		c.mu.Lock()
		s := c.streams[id]
		c.mu.Unlock()
		switch {
		case s == nil || s.received:
			return http2.ConnectionError(http2.ErrCodeStreamClosed)
		case !f.StreamEnded() || len(f.PseudoFields()) > 0:
			return protocol
		}
		return c.received(s)
	}
	c.last = id
	if f.HasPriority() && f.Priority.StreamDep == id {
		return protocol
	}
	r, ok := parse(f)
	if !ok {
		return protocol
	}
	if c.drain.Load() {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	c.mu.Lock()
	open := len(c.streams)
	c.mu.Unlock()
	if int(c.pending.Load()) >= c.l.o.MaxStreams || open >= c.l.o.MaxStreams {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	c.idle, c.asked = 0, time.Now()
	c.place.Busy()
	if f.StreamEnded() {
		if r.length > 0 {
			return protocol
		}
		c.answer(id, nil, &r, nil)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[id] = &stream{c: c, id: id, request: r, begun: c.asked, send: c.initial}
	return nil
}

// parse reads a header. It reports false if HTTP/2 does not allow it.
func parse(f *http2.MetaHeadersFrame) (r request, ok bool) {
	r.length = -1
	scheme, target := "", ""
	for _, p := range f.PseudoFields() {
		switch p.Name {
		case ":method":
			r.method = p.Value
		case ":scheme":
			scheme = p.Value
		case ":path":
			target = p.Value
		case ":authority":
		default:
			return r, false
		}
	}
	if r.method == "" || scheme == "" || target == "" || r.method == http.MethodConnect {
		return r, false
	}
	kind, encoding := "", ""
	for _, h := range f.RegularFields() {
		switch h.Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			return r, false
		case "te":
			if h.Value != "trailers" {
				return r, false
			}
		case "forwarded":
			r.forwarded = append(r.forwarded, h.Value)
		case "x-forwarded-for":
			r.xForwardedFor = append(r.xForwardedFor, h.Value)
		case "content-type":
			kind = h.Value
		case "content-encoding":
			encoding = h.Value
		case "content-length":
			n, err := strconv.ParseUint(h.Value, 10, 62)
			if err != nil {
				return r, false
			}
			r.length = int64(n)
		}
	}
	r.path, r.query, _ = strings.Cut(target, "?")
	if f.Truncated {
		r.fault = errHeader
	} else if r.method == http.MethodPost {
		r.fault = faultOf(kind, encoding, r.length)
	}
	return r, true
}

// data takes a part of a body.
func (c *h2) data(f *http2.DataFrame) error {
	id, size := f.StreamID, int(f.Length)
	if id > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if c.window -= size; c.window < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.mu.Lock()
	s := c.streams[id]
	c.mu.Unlock()
	if s == nil || s.received {
		c.giveBack(size)
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	}
	body := f.Data()
	if len(body) > 0 {
		c.idle = 0
	}
	s.taken += size
	if len(s.body)+len(body) > wire.MaxMessage {
		c.refuse(id, errSize)
		c.giveBack(s.taken)
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeNo}
	}
	s.body = append(s.body, body...)
	if f.StreamEnded() {
		return c.received(s)
	}
	return nil
}

// giveBack lets the client send octets again, on the connection.
func (c *h2) giveBack(n int) {
	c.credit += n
	if c.credit < connWindow/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendWindow(c.out, 0, uint32(c.credit))
	c.window += c.credit
	c.credit = 0
}

// received answers a request that is whole.
func (c *h2) received(s *stream) error {
	s.received = true
	if s.request.length >= 0 && s.request.length != int64(len(s.body)) {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	c.giveBack(s.taken)
	s.taken = 0
	c.answer(s.id, s, &s.request, s.body)
	s.body = nil
	return nil
}

// message is the query that a request has.
func (c *h2) message(r *request, settings *Settings, body []byte) (msg []byte, err error) {
	switch {
	case r.fault == errHeader:
		return nil, r.fault
	case !settings.has(r.path):
		return nil, errPath
	case r.method == http.MethodGet || r.method == http.MethodHead:
		if msg, err = fromQuery(c.scratch[:0], r.query); err == nil {
			c.scratch = msg
		}
	case r.method == http.MethodPost:
		msg, err = body, r.fault
	default:
		return nil, errMethod
	}
	if err == nil && !isQuery(msg) {
		err = errNoMessage
	}
	return msg, err
}

// answer answers a request, or has its query wait. s is nil if there is no stream for it yet.
func (c *h2) answer(id uint32, s *stream, r *request, body []byte) {
	settings := c.l.handler.settings.Load()
	msg, err := c.message(r, settings, body)
	if err != nil {
		c.respond(id, s, r, nil, err, settings)
		return
	}
	c.client.Claims = c.client.Claims.At(r.path)
	client := c.client
	if how := c.l.o.Proxies.How(client.Addr); how != proxied.Not {
		values := r.xForwardedFor
		if how == proxied.Forwarded {
			values = r.forwarded
		}
		if client, err = relayed(c.l.o.Proxies, how, client, values); err != nil {
			c.respond(id, s, r, nil, err, settings)
			return
		}
	}
	ans, waits := c.queries.Answer(c.response[:0], msg, client, c.asked)
	if waits {
		if j := c.queries.AdmitJob(); j != nil {
			c.mu.Lock()
			if s == nil {
				s = &stream{c: c, id: id, request: *r, received: true, begun: c.asked, send: c.initial}
				c.streams[id] = s
			}
			c.mu.Unlock()
			c.pending.Add(1)
			j.Start(s)
			return
		}
		ans = c.queries.Shed(c.response[:0])
	}
	if !session.Sendable(ans) {
		ans, err = nil, errMany
	}
	c.respond(id, s, r, ans, err, settings)
}

// refuse answers a request, whose body is not awaited any more.
func (c *h2) refuse(id uint32, why error) {
	c.mu.Lock()
	s := c.streams[id]
	c.mu.Unlock()
	if s != nil {
		c.respond(id, s, &s.request, nil, why, c.l.handler.settings.Load())
	}
}

// Reply implements session.Path.
func (s *stream) Reply(framed []byte) error {
	c := s.c
	ans, err := framed, error(nil)
	if framed == nil {
		err = errMany
	} else {
		ans = framed[session.LengthLen:]
	}
	c.respond(s.id, s, &s.request, ans, err, c.l.handler.settings.Load())
	err = c.flush()
	c.pending.Add(-1)
	c.settled()
	return err
}

// settled has the connection count as idle if nothing is asked on it, and end if it is to end.
func (c *h2) settled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restLocked()
	if c.drain.Load() {
		c.nc.SetReadDeadline(time.Now())
	}
}

// end has the connection take no more requests, and end when all are answered.
func (c *h2) end() {
	c.drain.Store(true)
	c.mu.Lock()
	c.out = appendGoAway(c.out, maxWindow, http2.ErrCodeNo)
	c.flushLocked()
	c.mu.Unlock()
	c.settled()
}
