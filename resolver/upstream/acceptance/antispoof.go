package acceptance

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"

	"rideau/resolver/wire"
)

// antispoof makes a forged response to the queries of one server less likely,
// by letters in random case (0x20, as in draft-vixie-dnsext-dns0x20), which a
// server repeats as they are, and by cookies (RFC 7873) for servers that offer
// them. A response by UDP that lacks either is not believed: the query is sent
// again over TCP, where nobody off the path can answer, and the response there
// tells whether the server just does not do such things. Where TCP brings
// nothing, two responses by UDP that lack the same tell. It is safe for
// concurrent use.
type antispoof struct {
	mixCase bool
	cookies bool
	start   time.Time
	client  [clientCookie]byte

	// Until these, in nanoseconds since start, the server is not expected to
	// keep the case, and is not asked for a cookie.
	caseOff   atomic.Int64
	cookieOff atomic.Int64
	// cookie is the one to send, the client's part and the server's; nil if
	// the server has given none. What it points to is never written.
	cookie atomic.Pointer[[]byte]
	// without counts the answers in a row that have no cookie though one was
	// asked for.
	without atomic.Int32
}

const (
	clientCookie    = 8
	maxServerCookie = 32
	// MaxCookie is the length of the longest COOKIE option.
	MaxCookie = 4 + clientCookie + maxServerCookie
	// offFor is how long a server that does not keep the case, or gives no
	// cookie, is not tried again.
	offFor = time.Hour
)

func (a *antispoof) init(mixCase, cookies bool) {
	a.mixCase, a.cookies, a.start = mixCase, cookies, time.Now()
	rand.Read(a.client[:]) // never fails
}

func (a *antispoof) isOff(until *atomic.Int64) bool {
	return int64(time.Since(a.start)) < until.Load()
}

func (a *antispoof) setOff(until *atomic.Int64) { until.Store(int64(time.Since(a.start) + offFor)) }

// MixesCase reports whether the letters of names get a random case.
func (a *antispoof) MixesCase() bool { return a.mixCase && !a.isOff(&a.caseOff) }

// given is the cookie that the server has given; nil if it has not, or
// cookies are not wanted.
func (a *antispoof) given() []byte {
	if c := a.cookie.Load(); c != nil && a.cookies {
		return *c
	}
	return nil
}

// DropCookie forgets the server's cookie, and sends none for some time: the
// server may not understand the option.
func (a *antispoof) DropCookie() {
	a.setOff(&a.cookieOff)
	a.cookie.Store(nil)
}

// WantCookie has the next query ask for a cookie, since the server insists on
// one.
func (a *antispoof) WantCookie() { a.cookieOff.Store(0) }

// Protect gives the name in a query the case that bits say, which must be
// random, and adds the cookie that the server has given. bits is nil where
// MixesCase reports false. With offer, a server that has given no cookie, and
// may have one, is sent the client's part. The query may be appended to; it
// is returned, with whether a cookie was added.
func (a *antispoof) Protect(query []byte, bits *[32]byte, offer bool) (out []byte, cookie bool) {
	if bits != nil {
		mixCase(query, bits)
	}
	c := a.given()
	if c == nil && offer && a.cookies && !a.isOff(&a.cookieOff) {
		c = a.client[:]
	}
	if c == nil {
		return query, false
	}
	out = appendCookie(query, c)
	return out, len(out) > len(query)
}

// mixCase gives the letters of the question's name the case that bits say.
func mixCase(msg []byte, bits *[32]byte) {
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
// record without options. Any other message is returned as it is.
func appendCookie(msg, cookie []byte) []byte {
	off := len(msg) - wire.OPTLen
	if off < wire.HeaderLen || wire.Count(msg, wire.Additional) != 1 || msg[off] != 0 || wire.Type(binary.BigEndian.Uint16(msg[off+1:])) != wire.TypeOPT {
		return msg
	}
	msg = wire.AppendOptionBytes(msg, wire.OptionCookie, cookie)
	binary.BigEndian.PutUint16(msg[off+9:], uint16(4+len(cookie)))
	return msg
}

// check reports whether a response by UDP has the case and the cookie of the
// query, as far as the server is known to repeat them. It stores the cookie
// that the response brings.
func (a *antispoof) check(query, resp []byte) bool {
	if a.MixesCase() && !sameCase(query, resp) {
		return false
	}
	if !a.cookies {
		return true
	}
	sent := findCookie(query)
	if sent == nil {
		return true
	}
	got := findCookie(resp)
	if len(got) >= clientCookie && bytes.Equal(got[:clientCookie], sent[:clientCookie]) {
		a.store(got)
		return true
	}
	if got == nil && len(sent) == clientCookie {
		a.missedCookie(resp)
		return true
	}
	return false
}

// missedCookie notes that a server of which no cookie is known has answered by
// UDP without one. One such answer may be forged. Two in a row are not asked
// for a third. An error does not count: servers leave much out of it.
func (a *antispoof) missedCookie(resp []byte) {
	if code := wire.HeaderRcode(resp); code != wire.NoError && code != wire.NXDomain {
		return
	}
	if a.without.Add(1) >= 2 {
		a.without.Store(0)
		a.setOff(&a.cookieOff)
	}
}

// learn stores what a response by TCP, which is believed, shows: whether the
// server keeps the case, and its cookie.
func (a *antispoof) learn(query, resp []byte) {
	if a.mixCase && !sameCase(query, resp) {
		a.setOff(&a.caseOff)
	}
	sent := findCookie(query)
	if sent == nil {
		return
	}
	got := findCookie(resp)
	if len(got) >= clientCookie && bytes.Equal(got[:clientCookie], sent[:clientCookie]) {
		a.store(got)
		return
	}
	a.DropCookie()
}

// store keeps a copy of the cookie in a response, if it has changed and has a
// valid length (RFC 7873 section 4).
func (a *antispoof) store(cookie []byte) {
	if n := len(cookie); n < clientCookie+8 || n > clientCookie+maxServerCookie {
		return
	}
	if a.without.Load() != 0 {
		a.without.Store(0)
	}
	if old := a.cookie.Load(); old != nil && bytes.Equal(*old, cookie) {
		return
	}
	c := bytes.Clone(cookie)
	a.cookie.Store(&c)
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
	off, end := FindOPT(msg)
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
