package doh

import (
	"encoding/binary"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http2"
)

// respond appends a response to what is to be written, as far as the client takes it: ans, or an error of HTTP. s is nil if there is no
// stream yet. A stream that the client has given up gets nothing.
func (c *h2) respond(id uint32, s *stream, r *request, ans []byte, err error, settings *Settings) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != nil && s.done || c.broken {
		return
	}
	status, body := http.StatusOK, ans
	if err != nil {
		status, body = statusOf(err), []byte(err.Error())
	}
	cut := r.method == http.MethodHead
	c.out = c.appendHeaders(c.out, id, status, body, cut, settings)
	window := c.initial
	if s != nil {
		window = s.send
	}
	switch {
	case cut:
	case int64(len(body)) <= min(c.send, window) && len(body) <= c.largest:
		c.send -= int64(len(body))
		c.out = append(appendFrame(c.out, len(body), http2.FrameData, http2.FlagDataEndStream, id), body...)
	default:
		if s == nil {
			s = &stream{c: c, id: id, send: c.initial}
			c.streams[id] = s
		}
		s.received, s.rest = true, append([]byte(nil), body...)
		if c.held += len(body); c.held > maxHeld {
			c.broken = true // the client has no window for what it asks
			c.nc.Close()
			return
		}
		c.continueLocked(s)
		return
	}
	if s != nil {
		c.forgetLocked(s)
	}
	c.restLocked()
}

// restLocked has the connection count as idle if nothing is asked on it.
func (c *h2) restLocked() {
	if len(c.streams) == 0 && c.pending.Load() == 0 {
		c.place.Idle()
	}
}

// continueLocked sends of a stream's response what the client takes.
func (c *h2) continueLocked(s *stream) {
	if len(s.rest) == 0 {
		return
	}
	for len(s.rest) > 0 {
		n := int(min(c.send, s.send, int64(c.largest), int64(len(s.rest))))
		if n <= 0 {
			if s.blocked.IsZero() {
				s.blocked = time.Now()
			}
			return
		}
		flags := http2.Flags(0)
		if n == len(s.rest) {
			flags = http2.FlagDataEndStream
		}
		c.out = append(appendFrame(c.out, n, http2.FrameData, flags, s.id), s.rest[:n]...)
		s.rest = s.rest[n:]
		c.held -= n
		c.send -= int64(n)
		s.send -= int64(n)
	}
	c.forgetLocked(s)
	c.restLocked()
}

// Indices of the static table of HPACK (RFC 7541 appendix A).
const (
	fieldStatus       = 8 // :status 200
	fieldAllow        = 22
	fieldCacheControl = 24
	fieldLength       = 28
	fieldType         = 31
	fieldDate         = 33
)

// appendHeaders appends the header of a response. It uses no dynamic table, and says so first: the client may
// have made it smaller.
func (c *h2) appendHeaders(b []byte, id uint32, status int, body []byte, end bool, settings *Settings) []byte {
	at := len(b)
	flags := http2.FlagHeadersEndHeaders
	if end {
		flags |= http2.FlagHeadersEndStream
	}
	b = appendFrame(b, 0, http2.FrameHeaders, flags, id)
	b = append(b, 0x20) // the table's size is 0 from now on
	var number [20]byte
	kind := mediaType
	if status == http.StatusOK {
		b = append(b, 0x80|fieldStatus)
		b = appendField(b, fieldCacheControl, "max-age="+strconv.FormatUint(uint64(lifetime(body)), 10))
	} else {
		b = appendField(b, fieldStatus, strconv.Itoa(status))
		kind = "text/plain; charset=utf-8"
	}
	b = appendField(b, fieldType, kind)
	b = appendField(b, fieldLength, string(strconv.AppendInt(number[:0], int64(len(body)), 10)))
	b = appendField(b, fieldDate, c.l.date.now())
	if status == http.StatusMethodNotAllowed {
		b = appendField(b, fieldAllow, "GET, HEAD, POST")
	}
	if settings.AltSvc != "" {
		b = appendText(append(b, 0), "alt-svc")
		b = appendText(b, settings.AltSvc)
	}
	n := len(b) - at - frameHeader
	b[at], b[at+1], b[at+2] = byte(n>>16), byte(n>>8), byte(n)
	return b
}

// appendField appends a field whose name is in the static table, without indexing.
func appendField(b []byte, name int, value string) []byte {
	if name < 15 {
		b = append(b, byte(name))
	} else {
		b = append(b, 15, byte(name-15))
	}
	return appendText(b, value)
}

// appendText appends a string of less than 254 octets.
func appendText(b []byte, s string) []byte {
	if len(s) < 127 {
		b = append(b, byte(len(s)))
	} else {
		b = append(b, 127, byte(len(s)-127))
	}
	return append(b, s...)
}

func appendFrame(b []byte, size int, kind http2.FrameType, flags http2.Flags, id uint32) []byte {
	b = append(b, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(b, id)
}

// appendSettings appends settings, each with its value after it.
func appendSettings(b []byte, settings ...any) []byte {
	b = appendFrame(b, len(settings)*3, http2.FrameSettings, 0, 0)
	for _, s := range settings {
		switch s := s.(type) {
		case http2.SettingID:
			b = binary.BigEndian.AppendUint16(b, uint16(s))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, s)
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(s))
		}
	}
	return b
}

func appendSettingsAck(b []byte) []byte {
	return appendFrame(b, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
}

func appendWindow(b []byte, id, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameWindowUpdate, 0, id), n)
}

func appendPong(b []byte, data [8]byte) []byte {
	return append(appendFrame(b, 8, http2.FramePing, http2.FlagPingAck, 0), data[:]...)
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, http2.FrameRSTStream, 0, id), uint32(code))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = binary.BigEndian.AppendUint32(appendFrame(b, 8, http2.FrameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}
