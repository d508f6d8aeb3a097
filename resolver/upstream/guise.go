package upstream

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"

	"rideau/resolver/wire"
)

// guise is what a Do53 has its queries wear, so that who does not see them
// finds it harder to forge an answer: letters in random case (0x20, as in
// draft-vixie-dnsext-dns0x20), which a server gives back as they came, and
// cookies (RFC 7873) for servers that offer them. An answer by UDP that lacks either is
// not believed; the question is then asked over TCP, where nobody forges, and
// what the answer looks like there tells whether the server knows better. It is
// safe for concurrent use.
type guise struct {
	mixCase bool
	cookies bool
	born    time.Time
	client  [clientCookie]byte

	// Until these, in nanoseconds since born, the server is not expected to keep
	// the case, and is not asked for a cookie.
	caseOff   atomic.Int64
	cookieOff atomic.Int64
	// jar is the cookie to send, the client's and the server's; nil if the
	// server has given none.
	jar atomic.Pointer[[]byte]
}

const (
	clientCookie    = 8
	maxServerCookie = 32
	// maxCookie is the length of the longest COOKIE option.
	maxCookie = 4 + clientCookie + maxServerCookie
	// unlikeFor is how long a server that does otherwise is not tried again.
	unlikeFor = time.Hour
)

func (g *guise) init(mixCase, cookies bool) {
	g.mixCase, g.cookies, g.born = mixCase, cookies, time.Now()
	rand.Read(g.client[:]) // never fails
}

func (g *guise) off(until *atomic.Int64) bool { return int64(time.Since(g.born)) < until.Load() }

func (g *guise) setOff(until *atomic.Int64) { until.Store(int64(time.Since(g.born) + unlikeFor)) }

// mixes reports whether letters get a random case.
func (g *guise) mixes() bool { return g.mixCase && !g.off(&g.caseOff) }

// offered is the cookie for a server that has given one.
func (g *guise) offered() []byte {
	if jar := g.jar.Load(); jar != nil && g.cookies {
		return *jar
	}
	return nil
}

// mix gives the letters of the question's name the case that bits say, which
// has to be random.
func mix(msg []byte, bits *[32]byte) {
	for i, n := wire.HeaderLen, 0; i < len(msg) && msg[i] != 0; n++ {
		for end := min(i+1+int(msg[i]), len(msg)); i+1 < end; i++ {
			if c := msg[i+1] | 0x20; c >= 'a' && c <= 'z' {
				at := i % 256
				msg[i+1] = c &^ (bits[at/8] >> (at % 8) & 1 << 5)
			}
		}
		i++
	}
}

// appendCookie appends a COOKIE option to a message that ends with an OPT
// record without options; any other comes back as it is.
func appendCookie(msg, cookie []byte) []byte {
	off := len(msg) - wire.OPTLen
	if off < wire.HeaderLen || wire.Count(msg, wire.Additional) != 1 || msg[off] != 0 || wire.Type(binary.BigEndian.Uint16(msg[off+1:])) != wire.TypeOPT {
		return msg
	}
	msg = wire.AppendOptionBytes(msg, wire.OptionCookie, cookie)
	binary.BigEndian.PutUint16(msg[off+9:], uint16(4+len(cookie)))
	return msg
}

// dress gives a query of one exchange its guise, and reports whether there is
// a cookie in it. A server of which nothing is known is offered a cookie.
func (g *guise) dress(f frame) (_ frame, cookie bool) {
	if g.mixes() {
		var bits [32]byte
		rand.Read(bits[:])
		mix(f.message(), &bits)
	}
	if !g.cookies {
		return f, false
	}
	c := g.offered()
	if c == nil {
		if g.off(&g.cookieOff) {
			return f, false
		}
		c = g.client[:]
	}
	n := len(f)
	f = append(f[:2], appendCookie(f[2:], c)...)
	binary.BigEndian.PutUint16(f, uint16(len(f)-2))
	return f, len(f) > n
}

// trust is what to make of a response.
type trust uint8

const (
	trusted trust = iota
	doubted       // it lacks what the server has given before
)

// look looks at the response by UDP to a query, and keeps the cookie in it.
func (g *guise) look(query, resp []byte) trust {
	if g.mixes() && !sameCase(query, resp) {
		return doubted
	}
	if !g.cookies {
		return trusted
	}
	sent := findCookie(query)
	if sent == nil {
		return trusted
	}
	got := findCookie(resp)
	if len(got) >= clientCookie && bytes.Equal(got[:clientCookie], sent[:clientCookie]) {
		g.keep(got)
		return trusted
	}
	if got == nil && len(sent) == clientCookie {
		g.setOff(&g.cookieOff) // it has none
		return trusted
	}
	return doubted
}

// learn looks at the response by TCP, which is believed: it tells what the
// server is like.
func (g *guise) learn(query, resp []byte) {
	if g.mixCase && !sameCase(query, resp) {
		g.setOff(&g.caseOff)
	}
	sent := findCookie(query)
	if sent == nil {
		return
	}
	got := findCookie(resp)
	if len(got) >= clientCookie && bytes.Equal(got[:clientCookie], sent[:clientCookie]) {
		g.keep(got)
		return
	}
	g.jar.Store(nil)
	g.setOff(&g.cookieOff)
}

// keep keeps what a server has answered to a cookie, if that has changed.
func (g *guise) keep(cookie []byte) {
	if n := len(cookie); n < clientCookie+8 || n > clientCookie+maxServerCookie {
		return
	}
	if jar := g.jar.Load(); jar != nil && bytes.Equal(*jar, cookie) {
		return
	}
	c := bytes.Clone(cookie)
	g.jar.Store(&c)
}

// sameCase reports whether a response to a query has its question in the same
// letters.
func sameCase(query, resp []byte) bool {
	w := wire.NewWalk(query)
	end := w.Offset() - 4
	return w.Err() == nil && end <= len(resp) && bytes.Equal(query[wire.HeaderLen:end], resp[wire.HeaderLen:end])
}

// findCookie is the value of a message's COOKIE option; nil if there is none.
func findCookie(msg []byte) []byte {
	off, end := findOPT(msg)
	if end == 0 {
		return nil
	}
	for data := msg[off+wire.OPTLen : end]; len(data) >= 4; {
		code, n := binary.BigEndian.Uint16(data), int(binary.BigEndian.Uint16(data[2:]))
		if 4+n > len(data) {
			break
		}
		if code == wire.OptionCookie {
			return data[4 : 4+n : 4+n]
		}
		data = data[4+n:]
	}
	return nil
}

// refusesCookie reports whether a response says that the server's cookie is
// no good any more (RFC 7873 section 5.3): there is a new one with it.
func refusesCookie(resp []byte) bool {
	if wire.HeaderRcode(resp) != wire.BadCookie&0xF {
		return false
	}
	off, end := findOPT(resp)
	return end > 0 && resp[off+5] == byte(wire.BadCookie>>4)
}
