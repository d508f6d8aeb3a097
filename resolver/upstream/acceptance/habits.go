package acceptance

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"rideau/resolver/wire"
)

// Shape is how much of a query goes to a server over UDP.
type Shape uint8

// Shapes, from the one that carries most.
const (
	Whole     Shape = iota // the query as it is
	Small                  // with an EDNS size of 512 octets, so that no response is longer
	WithoutDO              // without the DO bit
	Plain                  // without OPT record
)

// Habit is something that a server, or the path to it, does with queries or
// responses, and that several observations have to agree on before it is
// believed. See the package comment.
type Habit uint8

// Habits.
const (
	LosesCase    Habit = iota // responses have their letters in another case
	LosesCookie               // responses lack the cookie that the server has given
	MindsCookies              // queries with a cookie stay unanswered
	MindsCase                 // queries in random case stay unanswered
	NeedsSmall                // longer responses do not arrive
	MindsDO                   // queries with DO stay unanswered
	MindsEDNS                 // queries with an OPT record stay unanswered, or bring an error
	NeedsStream               // UDP brings nothing, and TCP does
	numHabits
)

const (
	// A habit that costs an answer is believed after agreeing observations, at
	// least agreeSpacing apart; one that costs a round trip, and that a forger
	// could show, after more of them, further apart.
	agreeing, agreeSpacing = 2, 200 * time.Millisecond
	doubted, doubtSpacing  = 4, time.Second
	// noise is how many messages may come between the first observation and the
	// last that were no response to a query. A server has few: late ones. Somebody
	// who guesses ids needs thousands for each that fits.
	noise = 16
	// reviewEvery is how long after a habit has been learnt, or found again, it is
	// tried whether the server still has it.
	reviewEvery = 5 * time.Minute
	// settled is how many of the first responses are looked at for what the
	// server understands.
	settled = 32
)

// habits is what is known of how a server is to be asked. The zero value is a
// server without habits.
type habits struct {
	// silent counts the queries by UDP in a row that were not answered in their
	// time. Any response ends the row.
	silent atomic.Int32
	heard  atomic.Uint32 // responses to queries, up to settled
	shows  atomic.Bool   // one of them had an OPT record
	keeps  atomic.Bool   // one of them was to a name in random case

	shape    atomic.Uint32 // a Shape
	stream   atomic.Bool   // it is asked over TCP
	reviewAt atomic.Int64  // when a habit is next reviewed; 0 if there is none
	errors   atomic.Int32  // that no query without OPT record has bettered
	observed atomic.Uint32 // habits with observations, one bit each

	mu  sync.Mutex
	obs [numHabits]observations // guarded by mu
}

// observations are those of one habit that agree.
type observations struct {
	n          int
	last       int64
	mismatches uint64 // when they began
}

func (h *habits) inherit(o *habits) {
	h.heard.Store(o.heard.Load())
	h.shows.Store(o.shows.Load())
	h.keeps.Store(o.keeps.Load())
	h.shape.Store(o.shape.Load())
	h.stream.Store(o.stream.Load())
	h.reviewAt.Store(o.reviewAt.Load())
	h.errors.Store(o.errors.Load())
}

// Shape is how much of a query the server is sent by UDP.
func (h *habits) Shape() Shape { return Shape(h.shape.Load()) }

// Streams reports whether the server is asked over TCP, since it has not
// answered over UDP.
func (h *habits) Streams() bool { return h.stream.Load() }

// ByDatagram reports whether a query is sent as it is, by UDP.
func (h *habits) ByDatagram() bool { return h.shape.Load() == 0 && !h.stream.Load() }

// Unanswered notes that a query by UDP was not answered in its time.
func (h *habits) Unanswered() { h.silent.Add(1) }

// Silent reports whether the last queries were not answered in their time.
func (h *habits) Silent() bool { return h.silent.Load() >= agreeing }

// KeepsCase reports whether a query in random case was ever answered.
func (h *habits) KeepsCase() bool { return h.keeps.Load() }

// Proves notes what a response shows that has repeated our part of a cookie, which
// nobody can guess: the server understands EDNS, and perhaps keeps the case.
func (h *habits) Proves(query, msg []byte) {
	h.shows.Store(true)
	if mixed(query) && SameCase(query, msg) {
		h.keeps.Store(true)
	}
}

// NeedsCookie reports whether nothing but the id and the port would protect a query
// without cookie: the server has given one, its names have no random case, and it has
// answered one of the last queries.
func (e *Endpoint) NeedsCookie() bool {
	return e.given() != nil && !(e.MixesCase() && e.KeepsCase()) && !e.Silent()
}

// hears notes what a response by UDP shows, of which query and msg belong to one
// another. It contradicts observations that were made of habits.
func (e *Endpoint) hears(query, msg []byte) {
	if e.silent.Load() != 0 {
		e.silent.Store(0)
	}
	if e.heard.Load() < settled {
		e.heard.Add(1)
		if _, end := FindOPT(msg); end > 0 && !e.shows.Load() {
			e.shows.Store(true)
		}
		if mixed(query) && !e.keeps.Load() {
			e.keeps.Store(true)
		}
	}
	if seen := e.observed.Load(); seen != 0 && (wire.HeaderRcode(msg) == wire.NoError || wire.HeaderRcode(msg) == wire.NXDomain) {
		e.contradict(seen & contradicts(e, query, msg))
	}
}

// contradicts is which habits a server does not have that answers this query so.
func contradicts(e *Endpoint, query, msg []byte) uint32 {
	c := uint32(1) << NeedsStream
	if off, end := FindOPT(query); end > 0 {
		if binary.BigEndian.Uint16(query[off+3:]) > smallSize {
			c |= 1 << MindsEDNS
		}
		if query[off+7]&0x80 != 0 {
			c |= 1 << MindsDO
		}
		if findCookie(query) != nil {
			c |= 1 << MindsCookies
		}
	}
	if len(msg) > smallSize {
		c |= 1 << NeedsSmall
	}
	if mixed(query) {
		c |= 1 << MindsCase
	}
	return c
}

// contradict forgets the observations of habits.
func (e *Endpoint) contradict(which uint32) {
	if which == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for h := range numHabits {
		if which>>h&1 != 0 {
			e.obs[h] = observations{}
		}
	}
	e.observed.Store(e.observed.Load() &^ which)
}

// Observe notes that the server has shown a habit, and reports whether it is
// believed now. Then queries are sent accordingly.
func (e *Endpoint) Observe(h Habit) bool {
	need, apart := agreeing, agreeSpacing
	if h == LosesCase || h == LosesCookie {
		need, apart = doubted, doubtSpacing
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	o, now, mismatches := &e.obs[h], e.now(), e.mismatches.Load()
	if o.n > 0 && mismatches-o.mismatches > noise {
		*o = observations{}
	}
	switch {
	case o.n == 0:
		o.mismatches = mismatches
	case now-o.last < int64(apart):
		return false
	}
	o.n, o.last = o.n+1, now
	e.observed.Store(e.observed.Load() | 1<<h)
	if o.n < need {
		return false
	}
	*o = observations{}
	e.observed.Store(e.observed.Load() &^ (1 << h))
	e.adopt(h)
	return true
}

// adopt has queries sent as a habit asks for.
func (e *Endpoint) adopt(h Habit) {
	switch h {
	case LosesCase, MindsCase:
		e.setOff(&e.caseOff)
	case LosesCookie, MindsCookies:
		e.DropCookie()
	case NeedsSmall:
		e.setShape(Small)
	case MindsDO:
		e.setShape(WithoutDO)
	case MindsEDNS:
		e.setShape(Plain)
	case NeedsStream:
		e.stream.Store(true)
		e.Reviewed()
	}
}

func (e *Endpoint) setShape(s Shape) {
	e.shape.Store(uint32(s))
	e.Reviewed()
}

// SetPlain notes that the server has answered without EDNS what it has refused
// with it (RFC 6891 section 6.2.2).
func (e *Endpoint) SetPlain() { e.setShape(Plain) }

// ReviewDue reports whether it is time to try whether the server still has its
// habits.
func (e *Endpoint) ReviewDue() bool { return !e.ByDatagram() && e.now() >= e.reviewAt.Load() }

// Reviewed notes that a review is over, and has found the habits again.
func (e *Endpoint) Reviewed() { e.reviewAt.Store(e.now() + int64(reviewEvery)) }

// AnswersWhole notes that the server has answered whole queries by UDP again.
func (e *Endpoint) AnswersWhole() {
	e.stream.Store(false)
	e.shape.Store(uint32(Whole))
	e.errors.Store(0)
	e.contradict(1<<numHabits - 1)
}

// maxErrors is how many errors are doubted, if none is bettered without EDNS.
const maxErrors = 4

// MayMindEDNS reports whether an error may be the server's way to say that it
// does not understand EDNS: it has none itself, and has never shown any. Such
// errors are doubted a few times.
func (e *Endpoint) MayMindEDNS(query, msg []byte) bool {
	code := wire.HeaderRcode(msg)
	if code != wire.ServFail && code != wire.Refused || e.shows.Load() || e.errors.Load() >= maxErrors {
		return false
	}
	_, asked := FindOPT(query)
	_, got := FindOPT(msg)
	return asked > 0 && got == 0
}

// NotBettered notes that a query without OPT record has brought an error too.
func (e *Endpoint) NotBettered() { e.errors.Add(1) }

// mixed reports whether the question's name has letters in both cases.
func mixed(query []byte) bool {
	upper, lower := letters(query)
	return upper && lower
}

// HasLetters reports whether the question's name has letters.
func HasLetters(query []byte) bool {
	upper, lower := letters(query)
	return upper || lower
}

func letters(query []byte) (upper, lower bool) {
	for i := wire.HeaderLen; i < len(query) && query[i] != 0; i++ {
		for end := min(i+1+int(query[i]), len(query)); i+1 < end; i++ {
			c := query[i+1]
			lower = lower || c >= 'a' && c <= 'z'
			upper = upper || c >= 'A' && c <= 'Z'
		}
	}
	return upper, lower
}

// smallSize is the EDNS size of a query that is Small: that of a response to a
// query without EDNS (RFC 1035 section 4.2.1).
const smallSize = 512

// Shaped gives a query, whose OPT record is its last and has no options, a
// shape.
func Shaped(query []byte, s Shape) []byte {
	off := len(query) - wire.OPTLen
	if s == Whole || off < wire.HeaderLen || wire.Count(query, wire.Additional) != 1 || query[off] != 0 ||
		wire.Type(binary.BigEndian.Uint16(query[off+1:])) != wire.TypeOPT {
		return query
	}
	switch s {
	case Small:
		binary.BigEndian.PutUint16(query[off+3:], min(binary.BigEndian.Uint16(query[off+3:]), smallSize))
	case WithoutDO:
		query[off+7] &^= 0x80
	case Plain:
		query = query[:off]
		wire.SetCount(query, wire.Additional, 0)
	}
	return query
}

// Use is whether queries to a server use something that it may not understand.
type Use struct {
	What string
	Used bool
}

// Uses is what queries to the server use. What is turned off by the
// configuration is left out.
func (e *Endpoint) Uses() []Use {
	var all []Use
	if e.cookies {
		all = append(all, Use{"cookies", e.given() != nil})
	}
	if e.mixCase {
		all = append(all, Use{"mix_case", e.MixesCase()})
	}
	s := e.Shape()
	return append(all, Use{"edns", s != Plain}, Use{"dnssec_ok", s != Plain && s != WithoutDO}, Use{"large", s == Whole || s == WithoutDO}, Use{"udp", !e.Streams()})
}
