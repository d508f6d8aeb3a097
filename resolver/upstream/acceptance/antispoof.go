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
// concurrent use and never locks.
type antispoof struct {
	mixCase bool
	cookies bool
	start   time.Time
	client  [clientCookie]byte

	// caseOff is 0 while the server is expected to keep the case; otherwise it is
	// when that is tried next, in nanoseconds since start.
	caseOff atomic.Int64
	// cookie is the one to send, the client's part and the server's; nil if
	// the server has given none. What it points to is never written.
	cookie atomic.Pointer[[]byte]
	// insists is whether the server wants a cookie with every query.
	insists atomic.Bool
	// lost is whether a cookie that the server had given was of no use later.
	lost atomic.Bool
	// tryAt is when the server is next asked for a cookie, and tries how often
	// that was in vain.
	tryAt atomic.Int64
	tries atomic.Int32
}

const (
	clientCookie    = 8
	maxServerCookie = 32
	// MaxCookie is the length of the longest COOKIE option.
	MaxCookie = 4 + clientCookie + maxServerCookie
	// offFor is how long after it has turned out that a server does not keep the
	// case, or gives no cookie, that is tried again.
	offFor = time.Hour
)

func (a *antispoof) init(mixCase, cookies bool, start time.Time) {
	a.mixCase, a.cookies, a.start = mixCase, cookies, start
	rand.Read(a.client[:]) // never fails
}

func (a *antispoof) inherit(o *antispoof) {
	a.client = o.client
	a.caseOff.Store(o.caseOff.Load())
	a.cookie.Store(o.cookie.Load())
	a.insists.Store(o.insists.Load())
	a.lost.Store(o.lost.Load())
	a.tryAt.Store(o.tryAt.Load())
	a.tries.Store(o.tries.Load())
}

func (a *antispoof) isOff(until *atomic.Int64) bool {
	return int64(time.Since(a.start)) < until.Load()
}

func (a *antispoof) setOff(until *atomic.Int64) { until.Store(int64(time.Since(a.start) + offFor)) }

// MixesCase reports whether the letters of names get a random case.
func (a *antispoof) MixesCase() bool { return a.mixCase && a.caseOff.Load() == 0 }

// CaseDue reports whether it is time to find out whether a server that did not
// keep the case does now, and with how many queries.
func (a *antispoof) CaseDue() (queries int) {
	if !a.mixCase || a.caseOff.Load() == 0 || a.isOff(&a.caseOff) {
		return 0
	}
	return surely
}

// CaseTried notes the end of such queries: whether all responses had their case.
func (a *antispoof) CaseTried(kept bool) {
	if kept {
		a.caseOff.Store(0)
	} else {
		a.setOff(&a.caseOff)
	}
}

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
	a.setOff(&a.tryAt)
	a.insists.Store(false)
	if a.cookie.Swap(nil) != nil {
		a.lost.Store(true)
	}
}

// WantCookie has the next queries ask for a cookie, since the server insists on
// one.
func (a *antispoof) WantCookie() {
	if a.cookies && !a.insists.Load() {
		a.insists.Store(true)
	}
}

// CookieDue reports whether it is time to find out whether the server gives
// cookies, and with how many queries: a server that gave one that was of no use
// may be several behind one address.
func (a *antispoof) CookieDue() (queries int) {
	if !a.cookies || a.cookie.Load() != nil || a.isOff(&a.tryAt) {
		return 0
	}
	if a.lost.Load() {
		return surely
	}
	return 1
}

const (
	// surely is how many queries in a row must bring a cookie where one was of no
	// use before.
	surely = 6
	// tryAgain is how long after a query for a cookie that was not answered the
	// next is sent, tryOften times; then it is an hour.
	tryAgain = 10 * time.Second
	tryOften = 3
)

// CookieTried notes the end of such queries: cookie is what all have brought, or
// nil. answered is whether there were responses without a cookie.
func (a *antispoof) CookieTried(cookie []byte, answered bool) {
	switch {
	case cookie != nil:
		a.tries.Store(0)
		a.store(cookie)
	case answered || a.tries.Add(1) >= tryOften:
		a.tries.Store(0)
		a.setOff(&a.tryAt)
	default:
		a.tryAt.Store(int64(time.Since(a.start) + tryAgain))
	}
}

// OwnCookie returns the cookie of a response to a query that had one, if it is
// the server's answer to that; otherwise nil.
func OwnCookie(query, resp []byte) []byte {
	if got := findCookie(resp); repeatsCookie(query, resp) && len(got) >= clientCookie+8 {
		return got
	}
	return nil
}

// Protect gives the name in a query the case that bits say, which must be
// random, and adds the cookie that the server has given. bits is nil where
// MixesCase reports false. A server that has given no cookie is sent the
// client's part if it insists on one, or with offer. The query may be appended
// to; it is returned, with whether a cookie was added.
func (a *antispoof) Protect(query []byte, bits *[32]byte, offer bool) (out []byte, cookie bool) {
	if bits != nil {
		mixCase(query, bits)
	}
	c := a.given()
	if c == nil && a.cookies && (offer || a.insists.Load()) {
		c = a.client[:]
	}
	if c == nil {
		return query, false
	}
	out = appendCookie(query, c)
	return out, len(out) > len(query)
}

// MixCase gives the letters of the question's name a random case.
func MixCase(query []byte) {
	var bits [32]byte
	rand.Read(bits[:]) // never fails
	mixCase(query, &bits)
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
	if a.MixesCase() && !SameCase(query, resp) {
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
		a.renew(got)
		return true
	}
	return got == nil && len(sent) == clientCookie // it may have none
}

// learn stores what a response by TCP, which is believed, shows: whether the
// server keeps the case, and its cookie.
func (a *antispoof) learn(query, resp []byte) {
	if a.mixCase && !SameCase(query, resp) {
		a.setOff(&a.caseOff)
	}
	sent := findCookie(query)
	if sent == nil {
		return
	}
	got := findCookie(resp)
	if len(got) >= clientCookie && bytes.Equal(got[:clientCookie], sent[:clientCookie]) {
		a.renew(got)
		return
	}
	a.DropCookie()
}

// renew stores the cookie of a response to a query with a cookie, unless none is
// used any more.
func (a *antispoof) renew(cookie []byte) {
	if a.cookie.Load() != nil || a.insists.Load() {
		a.store(cookie)
	}
}

// store keeps a copy of the cookie in a response, if it has changed and has a
// valid length (RFC 7873 section 4).
func (a *antispoof) store(cookie []byte) {
	if n := len(cookie); n < clientCookie+8 || n > clientCookie+maxServerCookie {
		return
	}
	if old := a.cookie.Load(); old != nil && bytes.Equal(*old, cookie) {
		return
	}
	c := bytes.Clone(cookie)
	a.cookie.Store(&c)
}

// SameCase reports whether a response to a query has its question in the same
// letters.
func SameCase(query, resp []byte) bool {
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
