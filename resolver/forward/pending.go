package forward

import (
	"hash/maphash"
	"slices"
	"sync"

	"rideau/resolver/cache"
	"rideau/resolver/limit"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// Question is what an upstream is asked, and which one.
type Question struct {
	Name   *wire.Name
	Type   wire.Type
	Class  wire.Class
	DO, CD bool
	// Route and ZoneLabels are what Routing.Zone says of the name.
	Route      uint16
	ZoneLabels int
	// Share is whose place at an upstream the exchange takes: that of the first
	// client that asked.
	Share limit.Share
}

// Key is where the cache has the answer.
func (q *Question) Key() cache.Key {
	return cache.Key{Name: q.Name, Type: q.Type, Class: q.Class, DO: q.DO, CD: q.CD, ZoneLabels: q.ZoneLabels}
}

// appendQuery appends the message that goes upstream.
func (q *Question) appendQuery(dst []byte, udpSize uint16) []byte {
	return wire.AppendQuery(dst, 0, q.Name, q.Type, q.Class, q.DO, q.CD, true, udpSize)
}

// newQuery is appendQuery to a slice of its own.
func (q *Question) newQuery(udpSize uint16) []byte {
	return q.appendQuery(make([]byte, 0, wire.HeaderLen+q.Name.Len()+4+wire.OPTLen), udpSize)
}

// Pending is a pending query: one exchange with an upstream, for which any
// number of clients' queries with the same question wait.
type Pending struct {
	Question
	hash    uint64
	next    *Pending // in its chain
	routing *Routing // when it began
	target  *target
	epoch   uint64            // of the cache, when it began
	since   int64             // when it began, in nanoseconds
	refresh bool              // no query waits for it, at first
	started *upstream.Started // the attempt that a loop has made already

	// shared is for the queries that wait for another's exchange. The first of
	// them makes it, under the lock of the shard.
	shared *Shared
}

// Shared is a result that any number of queries wait for. It is written before
// done is closed and never after.
type Shared struct {
	done   chan struct{}
	since  int64 // when the exchange began, in nanoseconds
	result Result
}

// Done is closed when the result is there.
func (s *Shared) Done() <-chan struct{} { return s.done }

// Since is when the exchange began, in nanoseconds.
func (s *Shared) Since() int64 { return s.since }

// Result is the result, once Done is closed. Its message is never written.
func (s *Shared) Result() Result { return s.result }

// Result is what an exchange has brought.
type Result struct {
	Msg        []byte // without OPT
	Generation uint64 // of the policy under which Msg is clean for all clients; 0 if it is not
	Failed     bool
	Cut        bool   // Msg is part of an answer whose rest cannot be had
	Server     uint16 // 1 plus the index of the upstream's server that answered; 0 if none did
	EDE        int    // the info code that came with it, or says why it failed; -1 for none
}

// same reports whether two pending queries ask the same upstream the same, since
// the cache was last flushed. After a reload that changes the upstream, no query
// gets what the old one says.
func (p *Pending) same(o *Pending) bool {
	return p.Type == o.Type && p.Class == o.Class && p.DO == o.DO && p.CD == o.CD &&
		p.target == o.target && p.epoch == o.epoch && string(p.Name.Bytes()) == string(o.Name.Bytes())
}

// pendingQueries is the set of exchanges under way: chains by hash, in shards.
// It is safe for concurrent use.
type pendingQueries struct {
	seed   maphash.Seed
	shards [pendingShards]pendingShard
}

const pendingShards = 64

type pendingShard struct {
	mu     sync.Mutex
	chains []*Pending // guarded by mu; the number is a power of two
	n      int        // guarded by mu
	_      [24]byte
}

func (ps *pendingQueries) init() {
	ps.seed = maphash.MakeSeed()
	for i := range ps.shards {
		ps.shards[i].chains = make([]*Pending, 8)
	}
}

func (ps *pendingQueries) hash(q *Question) uint64 {
	bits := uint64(q.Type)<<32 | uint64(q.Class)<<16 | uint64(q.Route)<<2
	if q.DO {
		bits |= 1
	}
	if q.CD {
		bits |= 2
	}
	return maphash.Bytes(ps.seed, q.Name.Bytes()) ^ bits*0x9E3779B97F4A7C15
}

// lock returns p's shard, locked.
func (ps *pendingQueries) lock(p *Pending) *pendingShard {
	s := &ps.shards[p.hash%pendingShards]
	s.mu.Lock()
	return s
}

// find returns the pointer to the pending query for p's question, or to the nil
// at the end of its chain. mu is held.
func (s *pendingShard) find(p *Pending) **Pending {
	at := &s.chains[p.hash/pendingShards&uint64(len(s.chains)-1)]
	for *at != nil && ((*at).hash != p.hash || !p.same(*at)) {
		at = &(*at).next
	}
	return at
}

func (s *pendingShard) add(p *Pending) {
	if s.n++; s.n > len(s.chains) {
		old := s.chains
		s.chains = make([]*Pending, 2*len(old))
		for _, o := range old {
			for o != nil {
				next := o.next
				s.push(o)
				o = next
			}
		}
	}
	s.push(p)
}

func (s *pendingShard) push(p *Pending) {
	at := &s.chains[p.hash/pendingShards&uint64(len(s.chains)-1)]
	p.next, *at = *at, p
}

// register adds p and returns nil; the caller then sees to it that p is
// finished. If its question is pending already, register returns that one's
// result and does not add p.
func (ps *pendingQueries) register(p *Pending) *Shared {
	s := ps.lock(p)
	defer s.mu.Unlock()
	if o := *s.find(p); o != nil {
		return o.share()
	}
	s.add(p)
	return nil
}

// join is register for a caller that waits for p's own result, too. mine is
// whether p was added.
func (ps *pendingQueries) join(p *Pending) (shared *Shared, mine bool) {
	p.share()
	if s := ps.register(p); s != nil {
		return s, false
	}
	return p.shared, true
}

// share returns p's shared result. The lock of its shard is held, or p has not
// been added.
func (p *Pending) share() *Shared {
	if p.shared == nil {
		p.shared = &Shared{done: make(chan struct{}), since: p.since}
	}
	return p.shared
}

// replace makes to a copy of p, but for its name and started, and puts it in
// p's place. Queries that wait for p wait for to. It returns the result that
// they share.
func (ps *pendingQueries) replace(p, to *Pending) *Shared {
	s := ps.lock(p) // guards next and shared, too
	defer s.mu.Unlock()
	at := s.find(p)
	shared, name, started := p.share(), to.Name, to.started
	*to = *p
	to.Name, to.started = name, started
	*at = to
	return shared
}

// finish removes p and gives res to the queries that wait for it. If the
// message is borrowed, they get a copy.
func (ps *pendingQueries) finish(p *Pending, res Result, borrowed bool) {
	s := ps.lock(p)
	*s.find(p) = p.next
	s.n--
	shared := p.shared
	s.mu.Unlock()
	if shared == nil {
		return
	}
	if borrowed {
		res.Msg = slices.Clone(res.Msg)
	}
	shared.result = res
	close(shared.done)
}
