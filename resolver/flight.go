package resolver

import (
	"context"
	"errors"
	"hash/maphash"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// flight is one exchange with upstream that any number of queries with the
// same question wait for.
type flight struct {
	hash     uint64
	next     *flight // in its chain
	state    *State  // when it began
	name     *wire.Name
	qtype    wire.Type
	class    wire.Class
	do, cd   bool
	apex     int // labels of the zone that goes to this upstream
	upstream *target
	udpSize  uint16
	epoch    uint64          // of the cache, when it began
	since    int64           // when it began, in nanoseconds
	refresh  bool            // nobody waits for it, at first
	begun    *upstream.Begun // what a listener has done for it already

	// landing is for those who wait for another's flight. It is made by the
	// first of them, under the lock of the flight's shard.
	landing *landing
}

// landing is what a flight comes to. It is written before done is closed and
// never after.
type landing struct {
	done  chan struct{}
	since int64 // when the flight began, in nanoseconds
	result
}

// result is what a flight brought.
type result struct {
	msg        []byte // without OPT
	generation uint64 // under which msg is clean for everyone; 0 if it is not
	failed     bool
	ede        int // the info code that came with it, or that says why it failed; -1 for none
}

// newFlight is a flight for q's question, which borrows q's name.
func (r *Resolver) newFlight(q *Query) flight {
	v := &q.view
	f := flight{state: q.state, name: &v.Name, qtype: v.Type, class: v.Class, do: v.DO, cd: v.CD, apex: q.apex,
		upstream: q.state.upstreams[q.route], udpSize: q.state.udpSize, epoch: r.cache.Epoch(), since: q.Received.UnixNano()}
	f.hash = r.flights.hash(&f, q.route)
	return f
}

func (fs *flights) hash(f *flight, route uint16) uint64 {
	bits := uint64(f.qtype)<<32 | uint64(f.class)<<16 | uint64(route)<<2
	if f.do {
		bits |= 1
	}
	if f.cd {
		bits |= 2
	}
	return maphash.Bytes(fs.seed, f.name.Bytes()) ^ bits*0x9E3779B97F4A7C15
}

// same reports whether two flights ask the same of the same, so that a reload
// that changes the upstream does not hand out what the old one says, and who
// asks after the cache was flushed does not get what was said before.
func (f *flight) same(g *flight) bool {
	return f.qtype == g.qtype && f.class == g.class && f.do == g.do && f.cd == g.cd &&
		f.upstream == g.upstream && f.epoch == g.epoch && string(f.name.Bytes()) == string(g.name.Bytes())
}

// query appends the question as it goes upstream.
func (f *flight) query(dst []byte) []byte {
	return wire.AppendQuery(dst, 0, f.name, f.qtype, f.class, f.do, f.cd, true, f.udpSize)
}

// key is where the cache keeps the flight's answer.
func (f *flight) key() cache.Key {
	return cache.Key{Name: f.name, Type: f.qtype, Class: f.class, DO: f.do, CD: f.cd, Apex: f.apex}
}

// flights are those under way: chains by hash, in shards.
type flights struct {
	seed   maphash.Seed
	shards [flightShards]flightShard
}

const flightShards = 64

type flightShard struct {
	mu     sync.Mutex
	chains []*flight // guarded by mu; a power of two of them
	n      int       // guarded by mu
	_      [24]byte
}

func (fs *flights) init() {
	fs.seed = maphash.MakeSeed()
	for i := range fs.shards {
		fs.shards[i].chains = make([]*flight, 8)
	}
}

// lock returns f's shard, locked.
func (fs *flights) lock(f *flight) *flightShard {
	s := &fs.shards[f.hash%flightShards]
	s.mu.Lock()
	return s
}

// find returns the place that points at the flight for f's question, or at
// nil.
func (s *flightShard) find(f *flight) **flight {
	at := &s.chains[f.hash/flightShards&uint64(len(s.chains)-1)]
	for *at != nil && ((*at).hash != f.hash || !f.same(*at)) {
		at = &(*at).next
	}
	return at
}

func (s *flightShard) add(f *flight) {
	if s.n++; s.n > len(s.chains) {
		old := s.chains
		s.chains = make([]*flight, 2*len(old))
		for _, g := range old {
			for g != nil {
				next := g.next
				s.push(g)
				g = next
			}
		}
	}
	s.push(f)
}

func (s *flightShard) push(f *flight) {
	at := &s.chains[f.hash/flightShards&uint64(len(s.chains)-1)]
	f.next, *at = *at, f
}

// begin makes f findable, unless there is a flight for its question: then it
// returns that one's landing. Otherwise it is nil, and it is the caller who has
// to see to it that f ends.
func (fs *flights) begin(f *flight) *landing {
	s := fs.lock(f)
	defer s.mu.Unlock()
	g := *s.find(f)
	if g == nil {
		s.add(f)
		return nil
	}
	return g.land()
}

// join is begin for who waits for f's landing too.
func (fs *flights) join(f *flight) (l *landing, mine bool) {
	f.land()
	if l := fs.begin(f); l != nil {
		return l, false
	}
	return f.landing, true
}

// land returns where to wait for f. The lock of its shard is held, or nobody
// knows f yet.
func (f *flight) land() *landing {
	if f.landing == nil {
		f.landing = &landing{done: make(chan struct{}), since: f.since}
	}
	return f.landing
}

// replace makes g a copy of f, but for g's name and what has begun, and puts
// it in f's place; whoever waits for f waits for g. It returns where.
func (fs *flights) replace(f, g *flight) *landing {
	s := fs.lock(f) // guards a flight's next and landing, too
	defer s.mu.Unlock()
	at := s.find(f)
	l, name, begun := f.land(), g.name, g.begun
	*g = *f
	g.name, g.begun = name, begun
	*at = g
	return l
}

// end takes f out, and gives res to whoever waits for it; the message is
// copied for them where it is only borrowed.
func (fs *flights) end(f *flight, res result, borrowed bool) {
	s := fs.lock(f)
	*s.find(f) = f.next
	s.n--
	l := f.landing
	s.mu.Unlock()
	if l == nil {
		return
	}
	if borrowed {
		res.msg = slices.Clone(res.msg)
	}
	l.result = res
	close(l.done)
}

// launch flies f on a goroutine of its own, which lives as long as the
// upstream takes, whether or not anybody still waits.
func (r *Resolver) launch(f *flight) {
	go func() {
		res := result{failed: true, ede: edeNetwork}
		// A panic on the way ends this flight in failure and nothing else.
		defer func() {
			if p := recover(); p != nil {
				r.panicked(p)
				res = result{failed: true, ede: edeNetwork}
			}
			r.flights.end(f, res, false)
			if f.refresh {
				r.refreshing.Add(-1)
			}
		}()
		res = r.fly(f)
	}()
}

func (r *Resolver) panicked(p any) {
	r.panics.Add(1)
	r.logger.Error("query failed by a fault in the program", "panic", p, "stack", string(debug.Stack()))
}

// resumer is an upstream that goes on with what a listener began.
type resumer interface {
	Resume(ctx context.Context, dst, query []byte, b *upstream.Begun) ([]byte, error)
}

// fly asks upstream and stores what it says.
func (r *Resolver) fly(f *flight) result {
	if f.upstream.Upstream == nil {
		return result{failed: true, ede: edeNotReady}
	}
	query := f.query(make([]byte, 0, wire.HeaderLen+f.name.Len()+4+wire.OPTLen))
	var msg []byte
	var err error
	if u, ok := f.upstream.Upstream.(resumer); ok && f.begun != nil {
		msg, err = u.Resume(context.Background(), nil, query, f.begun)
	} else {
		msg, err = f.upstream.Exchange(context.Background(), nil, query)
	}
	if errors.Is(err, upstream.ErrBusy) {
		return result{failed: true, ede: edeNoReachable} // which may be over in a moment
	}
	if err != nil {
		ede := edeNoReachable
		switch {
		case errors.Is(err, wire.ErrMessage):
			ede = edeInvalidData
		case errors.Is(err, upstream.ErrNetwork):
			ede = edeNetwork
		}
		// Where nothing else was heard of the upstream either, it is not the
		// question that fails.
		return r.failed(f, ede, f.upstream.heard.Load() > f.since)
	}
	var scratch wire.Name
	var resp wire.Response
	if err := resp.Parse(msg, &scratch); err != nil || !wire.Matches(query, withID(msg, 0)) {
		return r.failed(f, edeInvalidData, true)
	}
	if !usable(&resp) {
		ede := edeNoReachable
		if resp.EDE >= 0 && resp.Rcode == wire.ServFail {
			ede = resp.EDE // what a validating upstream has to say, say (RFC 8914 section 3)
		}
		return r.failed(f, ede, true)
	}
	msg, ok := r.related(msg, f.do, &resp, &scratch)
	if !ok {
		return r.failed(f, edeInvalidData, true)
	}
	var end wire.Name
	if leftOff(f, msg, &resp, &end) {
		if msg, ok = r.goOn(f, msg, &resp, &end, &scratch); !ok {
			return r.failed(f, edeNoReachable, true)
		}
	}
	return r.land(f, msg, &resp, nil, &scratch, r.clock().UnixNano())
}

// usable reports whether a response is an answer.
func usable(resp *wire.Response) bool {
	return !resp.TC && (resp.Rcode == wire.NoError || resp.Rcode == wire.NXDomain || resp.Rcode == wire.YXDomain)
}

// failed notes that a flight brought nothing, and with backOff that this will
// last.
func (r *Resolver) failed(f *flight, ede int, backOff bool) result {
	if r.current(f) {
		r.cache.PutFailure(f.key(), wire.ServFail, ede, backOff, r.clock().UnixNano())
	}
	return result{failed: true, ede: ede}
}

// land has policy look at what a flight brought, stores it, and appends it
// to dst as the next client will see it, TTLs and all. msg is written to; now
// is in nanoseconds.
func (r *Resolver) land(f *flight, msg []byte, resp *wire.Response, dst []byte, scratch *wire.Name, now int64) result {
	res := result{ede: resp.EDE}
	f.upstream.hear(now)
	p := r.state.Load().policy
	ask := blocklists.Ask{Name: f.name, Type: f.qtype, Group: p.Everyone()}
	if v, trim := p.Response(msg, &ask, blocklists.Verdict{}, scratch); v.Kind != blocklists.Pass {
		if !v.ByZone() {
			r.suspect(f.name, f.qtype)
		}
	} else if !trim && !(hasSiblings(f.qtype) && r.suspects.has(f.name)) {
		res.generation = p.Generation()
	}
	var kept bool
	if res.msg, kept = r.keep(f, dst, msg, resp, res.generation, now); kept {
		return res
	}
	wire.CapTTLs(msg, r.cache.MaxTTL())
	res.msg = append(dst, msg...)
	return res
}

// keep stores what a flight brought, unless a reload sends the question
// elsewhere now, where the answer may be another, or the cache was flushed since
// the flight began. That is looked at before and after, since whoever empties
// the cache does it after the reload, and counts the flush before.
func (r *Resolver) keep(f *flight, dst, msg []byte, resp *wire.Response, generation uint64, now int64) ([]byte, bool) {
	if !r.current(f) {
		return dst, false
	}
	out, kept := r.cache.Put(dst, f.key(), msg, resp, generation, now)
	if !kept || r.current(f) {
		return out, kept
	}
	r.cache.Remove(f.key())
	return dst, false
}

// current reports whether f's question would still go to f's upstream, and
// the cache was not flushed since f began.
func (r *Resolver) current(f *flight) bool {
	if r.cache.Epoch() != f.epoch {
		return false
	}
	st := r.state.Load()
	if st == f.state {
		return true
	}
	_, _, route := st.zone(f.name, f.qtype)
	now := st.upstreams[route]
	if now == f.upstream {
		return true
	}
	t := reflect.TypeOf(now.Upstream)
	return t != nil && t.Comparable() && now.Upstream == f.upstream.Upstream
}

func withID(msg []byte, id uint16) []byte {
	wire.SetID(msg, id)
	return msg
}
