package limit

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"rideau/resolver/wire"
)

// Share says for which client and which zones a request is made. The zero Share
// is nobody's: only the limit for all counts.
type Share struct {
	client uint32              // a hash, and so are zones
	zones  [len(depths)]uint32 // the zone with the fewest labels is first
	n      uint8               // how many of zones are in use; 0: it is nobody's
	waits  *WaitLimit          // nil: it is nobody's
}

// Share is that of the query for a name that a permit was acquired for, or nobody's if it is not held. A name
// of two labels or fewer is its own zone.
func (w *WaitLimit) Share(p *Permit, name *wire.Name) Share {
	if !p.held {
		return Share{}
	}
	s := Share{client: p.cells[0], n: p.n - 1, waits: w}
	copy(s.zones[:], p.cells[1:p.n])
	if s.n == 0 {
		s.zones[0], s.n = uint32(maphash.Bytes(w.seed, name.Bytes())), 1
	}
	return s
}

// Known reports whether it is anybody's.
func (s *Share) Known() bool { return s.n > 0 }

// Hurried reports whether a query should not wait long for a name that is not
// answered: less than half of the permits are free, and it is not proven.
func (s *Share) Hurried() bool {
	w := s.waits
	return w != nil && w.waiting.Load() > w.limit/2 && !w.proven(s.client) && !w.proven(s.zones[s.n-1])
}

// Places are the requests that may be under way to one server. They are divided
// among clients and among zones as a [WaitLimit] divides permits. A zone whose
// names the server does not answer, while it answers others, gets few, and so
// does a client whose names are all such. It is safe for concurrent use.
type Places struct {
	born    time.Time
	taken   atomic.Int64
	refused [Reasons]atomic.Uint64
	cells   [placeCells]placeCell
}

const (
	placeCells = 1 << 15
	// silentAfter is how many requests stay unanswered, beyond those that are
	// answered, until a zone or a client counts as silent; silentAtFirst is the
	// same before any was answered. An answer halves the number. It grows to
	// maxSilence at most, and is forgotten after fade.
	silentAfter   = 16
	silentAtFirst = 4
	maxSilence    = 64
	fade          = 60 // seconds
	// silentPart is the part of the free places that a silent zone may have once a
	// quarter of all is taken, and silentLeast what it may have at least.
	silentPart  = 16
	silentLeast = 4
	// A zone of which nothing is known yet may have one part in so many of the free
	// places, beyond those that are kept from all such zones together: many that
	// are about to prove silent leave some to one that is new, and to those that
	// are known. provenPart and provenKept are the same for a client whose names
	// are answered.
	unknownPart, unknownKept = 64, 4
	provenPart, provenKept   = 16, 8
	// modestPart is the part of all places that a client may have that gets one
	// though the zone above the one that it asks for has its share.
	modestPart = 128
)

// placeCell counts for a client or a zone.
type placeCell struct {
	held atomic.Int32
	// record is what has become of requests: bits 0 to 7 are how many were
	// silent, bit 8 is whether any was answered, bits 9 to 31 are the second of
	// the last that was silent. The upper half is the hash that it is about.
	record atomic.Uint64
}

const answered = 1 << 8

// about returns what the cell has on a hash: 0 if it is about another.
func (c *placeCell) about(hash uint32) uint32 {
	if r := c.record.Load(); uint32(r>>32) == hash {
		return uint32(r)
	}
	return 0
}

// NewPlaces makes Places.
func NewPlaces() *Places { return &Places{born: time.Now()} }

func (p *Places) cell(at uint32) *placeCell { return &p.cells[at%placeCells] }

func (p *Places) second() uint32 { return uint32(time.Since(p.born)/time.Second) & (1<<23 - 1) }

// isSilent reports whether a zone or a client with such a record is silent.
func (p *Places) isSilent(record uint32) bool {
	n := p.silence(record)
	return n >= silentAfter || n >= silentAtFirst && record&answered == 0
}

// silence is the number in a record, unless that is too old to count.
func (p *Places) silence(record uint32) uint32 {
	n := record & 0xFF
	if n == 0 || p.second()-record>>9 > fade {
		return 0
	}
	return n
}

// Taken is how many places are taken.
func (p *Places) Taken() int { return int(max(p.taken.Load(), 0)) }

// Take takes one of limit places, which has to be given back. It reports false
// if there is none for s. again is whether the request repeats another, which
// takes places that are left over only.
func (p *Places) Take(limit int64, s *Share, again bool) bool {
	n := p.taken.Add(1)
	why, ok := Full, n <= limit
	if ok && s.n > 0 && limit >= minDivided {
		why, ok = p.mayTake(limit, n, s, again)
	}
	if !ok {
		p.taken.Add(-1)
		p.refused[why].Add(1)
		return false
	}
	p.hold(s, 1)
	return true
}

// Refused counts the requests that got no place, by reason.
func (p *Places) Refused(why Reason) uint64 { return p.refused[why].Load() }

// mayTake reports whether s may have one of limit places, of which n are taken,
// with this one, or else why not.
func (p *Places) mayTake(limit, n int64, s *Share, again bool) (why Reason, ok bool) {
	free := limit - n
	if free >= limit/4*3 {
		return 0, true // plenty: silence may be the server's, on a path that has become slow
	}
	held := int64(p.cell(s.client).held.Load())
	own := int64(p.cell(s.zones[s.n-1]).held.Load())
	client := p.cell(s.client).about(s.client)
	zone, known := p.standing(s)
	part, kept := int64(unknownPart), limit/unknownKept
	if client&answered != 0 {
		part, kept = provenPart, limit/provenKept
	}
	switch {
	case zone == int(s.n)-1:
		// All silent zones together leave half of the places to the others.
		return ZoneFull, !again && free >= limit/2 && own < max(free/silentPart, silentLeast)
	case known && again && free < limit/4:
		return Full, false
	case known:
		// Only what is in all, and what its client has, bounds it.
	case p.isSilent(client):
		return ClientFull, !again && free >= limit/2 && held < max(free/silentPart, silentLeast)
	case free < kept || again && free < limit/2:
		return Full, false
	case own >= max((free-kept)/part, 1):
		return ZoneFull, false
	}
	if held >= max(clientShare*(free-limit/16), 1) {
		return ClientFull, false
	}
	// A client and a zone that have few do not suffer from what others do below its parent.
	modest := !again && held < limit/modestPart && own < max(free/part, 1)
	for i := int(s.n) - 1; i >= 0; i-- {
		z := s.zones[i]
		if int64(p.cell(z).held.Load()) >= max(free, 1) && !(modest && i < int(s.n)-1) {
			return ZoneFull, false
		}
		if p.cell(z).about(z)&answered != 0 {
			break // it is not in the way of what others below its parent do
		}
	}
	return 0, true
}

// standing is what is known of the zones of s: the index of the one with most
// labels that is silent, or -1; and whether names below that with most labels have
// been answered. Such a zone below a silent one is not silent. That others below
// its parent are answered says nothing of a zone.
func (p *Places) standing(s *Share) (silent int, known bool) {
	for i := int(s.n) - 1; i >= 0; i-- {
		r := p.cell(s.zones[i]).about(s.zones[i])
		if p.isSilent(r) {
			return i, false
		}
		if i == int(s.n)-1 && r&answered != 0 {
			return -1, true
		}
	}
	return -1, false
}

// TakeAnyway takes a place whatever the limit.
func (p *Places) TakeAnyway(s *Share) {
	p.taken.Add(1)
	p.hold(s, 1)
}

// Give gives back a place.
func (p *Places) Give(s *Share) {
	p.hold(s, -1)
	p.taken.Add(-1)
}

func (p *Places) hold(s *Share, by int32) {
	if s.n == 0 {
		return
	}
	p.cell(s.client).held.Add(by)
	for _, z := range s.zones[:s.n] {
		p.cell(z).held.Add(by)
	}
}

// Answered notes a response to a request.
func (p *Places) Answered(s *Share) {
	if s.n == 0 {
		return
	}
	p.answered(s.client)
	for _, z := range s.zones[:s.n] {
		p.answered(z)
	}
}

// answered counts for a hash. A cell that is about another, silent one is left.
func (p *Places) answered(hash uint32) {
	c := p.cell(hash)
	r := c.record.Load()
	switch now := uint32(r); {
	case uint32(r>>32) == hash && now&0x1FF == answered:
	case uint32(r>>32) == hash:
		c.record.CompareAndSwap(r, uint64(hash)<<32|uint64(now&^0xFF|answered|now&0xFF/2)) // another answer will do as well
	case !p.isSilent(now):
		c.record.CompareAndSwap(r, uint64(hash)<<32|answered)
	}
}

// Unanswered notes that a request was not answered in its time though the server
// has answered others meanwhile, so that it is the name that is silent. It
// counts for the zone that is silent already, or else for that with most labels
// and for the client. For a zone above it counts once for each zone below.
func (p *Places) Unanswered(s *Share) {
	if s.n == 0 {
		return
	}
	now := p.second()
	if zone, _ := p.standing(s); zone >= 0 {
		p.silent(s.zones[zone], now)
		if zone < int(s.n)-1 {
			p.silent(s.zones[s.n-1], now)
		}
		return
	}
	p.silent(s.client, now)
	for i := int(s.n) - 1; i >= 0; i-- {
		if first := p.silent(s.zones[i], now); !first {
			return
		}
	}
}

// silent counts a request of a hash that was not answered, and reports whether it
// is the first. It takes the cell unless that is about another, silent one.
func (p *Places) silent(hash, now uint32) (first bool) {
	c := p.cell(hash)
	r := c.record.Load()
	was := uint32(r)
	if uint32(r>>32) != hash {
		if p.isSilent(was) {
			return true
		}
		was = 0
	}
	n := p.silence(was)
	c.record.CompareAndSwap(r, uint64(hash)<<32|uint64(now<<9|was&answered|min(n+1, maxSilence)))
	return n == 0
}

// Answers reports whether names of the zone of a request have been answered, and
// the zone is not silent.
func (p *Places) Answers(s *Share) bool {
	_, known := p.standing(s)
	return known
}

// Silent reports whether the zone of a request is silent, and not only one above
// it.
func (p *Places) Silent(s *Share) bool {
	if s.n == 0 {
		return false
	}
	zone, _ := p.standing(s)
	return zone == int(s.n)-1
}
