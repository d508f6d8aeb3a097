package audit

import (
	"sync"
	"time"

	"rideau/resolver"
	"rideau/resolver/audit/names"
)

const (
	// chunkSlots is how many records a chunk holds, and chunkText how many octets
	// of names. A chunk takes 30 KB.
	chunkSlots = 256
	chunkText  = 64 * chunkSlots
	// chunkNames is how many tables the records of one chunk may refer to: more
	// than one if the policy is replaced while the chunk is filled.
	chunkNames = 4
	// chunksPerRing bounds the chunks in use, for each ring: 16,384 records, or
	// 4,096 if all names are of the maximum length.
	chunksPerRing = 64
	// markSets is how many sets of marks there are.
	markSets = 1 << 5
)

// slot is a record in a ring or in a queue of a reader. It has no pointers. Its
// name is in the text of the chunk, so that the record fits into a cache line.
type slot struct {
	received  int64 // Unix time in nanoseconds
	elapsed   int64 // in nanoseconds
	number    uint64
	client    [16]byte
	qtype     uint16
	group     uint16
	route     uint16
	rcode     uint16
	kind      uint8
	transport uint8
	marks     uint8
	action    uint8
	flags     uint8
	ban       uint8
	list      uint8
	exception uint8
	labels    uint8
	trigger   uint8
	names     uint8  // index in the chunk
	length    uint8  // of the name
	name      uint16 // where it begins
	server    uint16 // of the route
}

// Flags of a slot.
const (
	hasBan    = 1 << iota // ban and list are meaningful
	monitored             // the ban is in monitor mode
	excepted              // exception freed the query from the ban
	inAnswer              // the verdict is about the response, not the question
	byZone                // a policy zone decided, by trigger
	unlisted              // a ban on all names but those on its lists decided: no list has the name
)

// chunk is a piece of a queue. Its pointers come first: the garbage collector
// scans no further.
type chunk struct {
	next  *chunk
	n     int // slots in use
	used  int // octets of text in use
	names [chunkNames]*names.Table
	slots [chunkSlots]slot
	text  [chunkText]byte
}

// number is the index of t in c; ok is false if c has no space for it.
func (c *chunk) number(t *names.Table) (i uint8, ok bool) {
	for i := range c.names {
		if c.names[i] == t {
			return uint8(i), true
		}
		if c.names[i] == nil {
			c.names[i] = t
			return uint8(i), true
		}
	}
	return 0, false
}

// queue is a list of chunks with records, oldest first.
type queue struct{ first, last *chunk }

// add appends a slot to q, with its name and the number of its table set. It
// returns nil if that takes a chunk and p has none.
func (q *queue) add(p *pool, t *names.Table, name []byte) *slot {
	c := q.last
	var i uint8
	ok := false
	if c != nil && c.n < chunkSlots && c.used+len(name) <= chunkText {
		i, ok = c.number(t)
	}
	if !ok {
		if c = p.get(); c == nil {
			return nil
		}
		if i, _ = c.number(t); q.last == nil {
			q.first = c
		} else {
			q.last.next = c
		}
		q.last = c
	}
	s := &c.slots[c.n]
	c.n++
	s.names, s.name, s.length = i, uint16(c.used), uint8(len(name))
	c.used += copy(c.text[c.used:], name)
	return s
}

// lost counts the records that found no space, by their marks.
type lost [markSets]uint64

// ring holds the records of one worker, oldest first, until they are passed
// on. It implements [resolver.Recorder].
type ring struct {
	log *Log

	mu    sync.Mutex
	queue queue // guarded by mu
	lost  lost  // guarded by mu
}

// Record implements [resolver.Recorder].
func (g *ring) Record(q *resolver.Query, o resolver.Outcome, elapsed time.Duration) {
	f, ok := q.Facts(&o)
	if !ok {
		return
	}
	if g.put(q, &f, &o, elapsed) {
		select {
		case g.log.wake <- struct{}{}:
		default:
		}
	}
}

// put appends a record, and reports whether the ring was empty.
func (g *ring) put(q *resolver.Query, f *resolver.Facts, o *resolver.Outcome, elapsed time.Duration) (first bool) {
	marks := o.Marks | resolver.Finished
	g.mu.Lock()
	defer g.mu.Unlock()
	first = g.queue.first == nil
	if s := g.queue.add(&g.log.pool, f.Names, f.Name); s != nil {
		s.fill(q, f, o, elapsed, marks)
	} else {
		g.lost[marks]++
	}
	return first
}

// fill makes s the record of q, except for its name and its table.
func (s *slot) fill(q *resolver.Query, f *resolver.Facts, o *resolver.Outcome, elapsed time.Duration, marks resolver.Marks) {
	s.received, s.elapsed = q.Received.UnixNano(), int64(elapsed)
	s.client = q.Client.As16()
	s.qtype, s.group, s.route, s.server, s.rcode = uint16(f.Type), uint16(f.Group), f.Route, f.Server, uint16(o.Rcode)
	s.kind, s.transport, s.marks, s.action = uint8(o.Kind), uint8(q.Transport), uint8(marks), uint8(o.Action)
	s.flags = 0
	if o.Decided() {
		v := &f.Verdict
		s.flags = hasBan
		s.ban, s.list, s.exception, s.labels, s.trigger = v.Ban, v.List, v.Exception, v.Labels, uint8(v.Trigger)
		if o.Monitored {
			s.flags |= monitored
		}
		if o.Overruled != 0 {
			s.flags |= excepted
		}
		if f.InAnswer {
			s.flags |= inAnswer
		}
		if v.Unlisted {
			s.flags |= unlisted
		}
		if v.ByZone() {
			s.flags |= byZone
		}
	}
}

// take empties the ring. The chunks are the caller's.
func (g *ring) take() (first *chunk, l lost) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first, l = g.queue.first, g.lost
	g.queue, g.lost = queue{}, lost{}
	return first, l
}

// pool has the chunks that no queue uses. It makes chunks until there are as
// many as the bound allows, and keeps them: afterwards recording makes no
// garbage.
type pool struct {
	mu    sync.Mutex
	free  *chunk // guarded by mu
	made  int    // guarded by mu
	bound int    // guarded by mu
}

// grow raises the bound by one ring's share.
func (p *pool) grow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bound += chunksPerRing
}

// get returns an empty chunk, or nil if the bound is reached.
func (p *pool) get() *chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch c := p.free; {
	case c != nil:
		p.free, c.next = c.next, nil
		return c
	case p.made == p.bound:
		return nil
	}
	p.made++
	return new(chunk)
}

// put takes back a chunk that was read.
func (p *pool) put(c *chunk) {
	c.n, c.used, c.names = 0, 0, [chunkNames]*names.Table{}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.next, p.free = p.free, c
}
