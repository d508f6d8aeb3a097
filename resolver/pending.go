package resolver

import (
	"context"
	"errors"
	"hash/maphash"
	"runtime/debug"
	"slices"
	"sync"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/upstream"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// pending query is one exchange with upstream that any number of queries with the
// same question wait for.
type pendingQuery struct {
	hash       uint64
	next       *pendingQuery // in its chain
	state      *State        // when it began
	name       *wire.Name
	qtype      wire.Type
	class      wire.Class
	do, cd     bool
	zoneLabels int // labels of the zone that goes to this upstream
	upstream   *target
	udpSize    uint16
	epoch      uint64            // of the cache, when it began
	since      int64             // when it began, in nanoseconds
	refresh    bool              // nobody waits for it, at first
	started    *upstream.Started // what a listener has done for it already

	// shared result is for those who wait for another's pending query. It is made by the
	// first of them, under the lock of the pending query's shard.
	shared *sharedResult
}

// shared result is what a pending query comes to. It is written before done is closed and
// never after.
type sharedResult struct {
	done  chan struct{}
	since int64 // when the pending query began, in nanoseconds
	result
}

// result is what a pending query brought.
type result struct {
	msg        []byte // without OPT
	generation uint64 // under which msg is clean for everyone; 0 if it is not
	failed     bool
	ede        int // the info code that came with it, or that says why it failed; -1 for none
}

// newPending is a pending query for q's question, which borrows q's name.
func (r *Resolver) newPending(q *Query) pendingQuery {
	v := &q.view
	f := pendingQuery{state: q.state, name: &v.Name, qtype: v.Type, class: v.Class, do: v.DO, cd: v.CD, zoneLabels: q.zoneLabels,
		upstream: q.state.upstreams[q.route], udpSize: q.state.udpSize, epoch: r.cache.Epoch(), since: q.Received.UnixNano()}
	f.hash = r.pending.hash(&f, q.route)
	return f
}

func (fs *pendingQueries) hash(f *pendingQuery, route uint16) uint64 {
	bits := uint64(f.qtype)<<32 | uint64(f.class)<<16 | uint64(route)<<2
	if f.do {
		bits |= 1
	}
	if f.cd {
		bits |= 2
	}
	return maphash.Bytes(fs.seed, f.name.Bytes()) ^ bits*0x9E3779B97F4A7C15
}

// same reports whether two pending queries ask the same of the same, so that a reload
// that changes the upstream does not hand out what the old one says, and who
// asks after the cache was flushed does not get what was said before.
func (f *pendingQuery) same(g *pendingQuery) bool {
	return f.qtype == g.qtype && f.class == g.class && f.do == g.do && f.cd == g.cd &&
		f.upstream == g.upstream && f.epoch == g.epoch && string(f.name.Bytes()) == string(g.name.Bytes())
}

// query appends the question as it goes upstream.
func (f *pendingQuery) query(dst []byte) []byte {
	return wire.AppendQuery(dst, 0, f.name, f.qtype, f.class, f.do, f.cd, true, f.udpSize)
}

// key is where the cache keeps the pending query's answer.
func (f *pendingQuery) key() cache.Key {
	return cache.Key{Name: f.name, Type: f.qtype, Class: f.class, DO: f.do, CD: f.cd, ZoneLabels: f.zoneLabels}
}

// pendingQueries are those under way: chains by hash, in shards.
type pendingQueries struct {
	seed   maphash.Seed
	shards [pendingShards]pendingShard
}

const pendingShards = 64

type pendingShard struct {
	mu     sync.Mutex
	chains []*pendingQuery // guarded by mu; a power of two of them
	n      int             // guarded by mu
	_      [24]byte
}

func (fs *pendingQueries) init() {
	fs.seed = maphash.MakeSeed()
	for i := range fs.shards {
		fs.shards[i].chains = make([]*pendingQuery, 8)
	}
}

// lock returns f's shard, locked.
func (fs *pendingQueries) lock(f *pendingQuery) *pendingShard {
	s := &fs.shards[f.hash%pendingShards]
	s.mu.Lock()
	return s
}

// find returns the place that points at the pending query for f's question, or at
// nil.
func (s *pendingShard) find(f *pendingQuery) **pendingQuery {
	at := &s.chains[f.hash/pendingShards&uint64(len(s.chains)-1)]
	for *at != nil && ((*at).hash != f.hash || !f.same(*at)) {
		at = &(*at).next
	}
	return at
}

func (s *pendingShard) add(f *pendingQuery) {
	if s.n++; s.n > len(s.chains) {
		old := s.chains
		s.chains = make([]*pendingQuery, 2*len(old))
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

func (s *pendingShard) push(f *pendingQuery) {
	at := &s.chains[f.hash/pendingShards&uint64(len(s.chains)-1)]
	f.next, *at = *at, f
}

// register makes f findable, unless there is a pending query for its question: then it
// returns that one's shared result. Otherwise it is nil, and it is the caller who has
// to see to it that f ends.
func (fs *pendingQueries) register(f *pendingQuery) *sharedResult {
	s := fs.lock(f)
	defer s.mu.Unlock()
	g := *s.find(f)
	if g == nil {
		s.add(f)
		return nil
	}
	return g.wait()
}

// join is begin for who waits for f's shared result too.
func (fs *pendingQueries) join(f *pendingQuery) (l *sharedResult, mine bool) {
	f.wait()
	if l := fs.register(f); l != nil {
		return l, false
	}
	return f.shared, true
}

// wait returns where to wait for f. The lock of its shard is held, or nobody
// knows f yet.
func (f *pendingQuery) wait() *sharedResult {
	if f.shared == nil {
		f.shared = &sharedResult{done: make(chan struct{}), since: f.since}
	}
	return f.shared
}

// replace makes g a copy of f, but for g's name and what has begun, and puts
// it in f's place; whoever waits for f waits for g. It returns where.
func (fs *pendingQueries) replace(f, g *pendingQuery) *sharedResult {
	s := fs.lock(f) // guards a pending query's next and shared result, too
	defer s.mu.Unlock()
	at := s.find(f)
	l, name, started := f.wait(), g.name, g.started
	*g = *f
	g.name, g.started = name, started
	*at = g
	return l
}

// end takes f out, and gives res to whoever waits for it; the message is
// copied for them where it is only borrowed.
func (fs *pendingQueries) end(f *pendingQuery, res result, borrowed bool) {
	s := fs.lock(f)
	*s.find(f) = f.next
	s.n--
	l := f.shared
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
func (r *Resolver) launch(f *pendingQuery) {
	go func() {
		res := result{failed: true, ede: edeNetwork}
		// A panic on the way ends this pending query in failure and nothing else.
		defer func() {
			if p := recover(); p != nil {
				r.panicked(p)
				res = result{failed: true, ede: edeNetwork}
			}
			r.pending.end(f, res, false)
			if f.refresh {
				r.refreshing.Add(-1)
			}
		}()
		res = r.exchange(f)
	}()
}

func (r *Resolver) panicked(p any) {
	r.panics.Add(1)
	r.logger.Error("query failed by a fault in the program", "panic", p, "stack", string(debug.Stack()))
}

// fly asks upstream and stores what it says.
func (r *Resolver) exchange(f *pendingQuery) result {
	if f.upstream.Upstream == nil {
		return result{failed: true, ede: edeNotReady}
	}
	query := f.query(make([]byte, 0, wire.HeaderLen+f.name.Len()+4+wire.OPTLen))
	var msg []byte
	var err error
	if f.started != nil {
		msg, err = f.upstream.Resume(context.Background(), nil, query, f.started)
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
	if !acceptance.Usable(&resp) {
		ede := edeNoReachable
		if resp.EDE >= 0 && resp.Rcode == wire.ServFail {
			ede = resp.EDE // what a validating upstream has to say, say (RFC 8914 section 3)
		}
		return r.failed(f, ede, true)
	}
	msg, ok := r.dropUnrelated(msg, f.do, &resp, &scratch)
	if !ok {
		return r.failed(f, edeInvalidData, true)
	}
	var end wire.Name
	if leftOff(f, msg, &resp, &end) {
		if msg, ok = r.goOn(f, msg, &resp, &end, &scratch); !ok {
			return r.failed(f, edeNoReachable, true)
		}
	}
	return r.store(f, msg, &resp, nil, &scratch, r.clock().UnixNano())
}

// failed notes that a pending query brought nothing, and with backOff that this will
// last.
func (r *Resolver) failed(f *pendingQuery, ede int, backOff bool) result {
	if r.current(f) {
		r.cache.PutFailure(f.key(), wire.ServFail, ede, backOff, r.clock().UnixNano())
	}
	return result{failed: true, ede: ede}
}

// store has policy look at what a pending query brought, stores it, and appends it
// to dst as the next client will see it, TTLs and all. msg is written to; now
// is in nanoseconds.
func (r *Resolver) store(f *pendingQuery, msg []byte, resp *wire.Response, dst []byte, scratch *wire.Name, now int64) result {
	res := result{ede: resp.EDE}
	f.upstream.hear(now)
	p := r.state.Load().policy
	ask := blocklists.Ask{Name: f.name, Type: f.qtype, Group: p.Everyone()}
	if v, trim := p.Response(msg, &ask, blocklists.Verdict{}, scratch); v.Kind != blocklists.Pass {
		if !v.ByZone() {
			r.markUnclean(f.name, f.qtype)
		}
	} else if !trim && !(hasRelatedTypes(f.qtype) && r.unclean.has(f.name)) {
		res.generation = p.Generation()
	}
	var kept bool
	if res.msg, kept = r.put(f, dst, msg, resp, res.generation, now); kept {
		return res
	}
	wire.CapTTLs(msg, r.cache.MaxTTL())
	res.msg = append(dst, msg...)
	return res
}

// put stores what a pending query brought, unless a reload sends the question
// elsewhere now, where the answer may be another, or the cache was flushed since
// the pending query began. That is looked at before and after, since whoever empties
// the cache does it after the reload, and counts the flush before.
func (r *Resolver) put(f *pendingQuery, dst, msg []byte, resp *wire.Response, generation uint64, now int64) ([]byte, bool) {
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
func (r *Resolver) current(f *pendingQuery) bool {
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
	return now.Upstream != nil && f.upstream.Upstream != nil &&
		now.Identity() != nil && now.Identity() == f.upstream.Identity()
}

func withID(msg []byte, id uint16) []byte {
	wire.SetID(msg, id)
	return msg
}
