// Package resolver answers queries: by policy, from the cache, or from an
// upstream, in that order.
//
// A query's way is the body of two methods, from top to bottom.
// [Resolver.Answer] settles whatever needs no waiting, on the listener's own
// goroutine, without blocking and without allocating. What it leaves pending,
// [Resolver.Resolve] finishes: one pending query for each question, upstream, policy
// on what came back, cache, answer. Bytes go in and bytes come out; the
// caller owns both. A listener that has a loop of its own lets such queries
// wait there, in [Misses]: the same steps without a goroutine for each, and
// Resolve for what turns out to need one.
//
// What a reload may change lies in one immutable [State] behind one atomic
// pointer. A query takes it once; one that waited takes it again, so that a
// ban which came into force meanwhile holds for it too.
package resolver

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/device"
	"rideau/resolver/limit"
	"rideau/resolver/wire"
)

// Options go with [New].
type Options struct {
	Cache *cache.Cache
	State *State
	// RefusedPerSecond bounds the REFUSED answers to clients that are not
	// served: beyond it they hear nothing, so that forged addresses make no reflector.
	RefusedPerSecond int
	// StaleAfter is how long a query waits for upstream before it takes a
	// stale answer, if there is one (RFC 8767 section 5: 1.8 seconds).
	StaleAfter time.Duration
	// Gate turns away who asks too much; nil for nobody.
	Gate *limit.Gate
	// Devices counts the devices that try to go round this resolver; nil: they
	// are not counted.
	Devices *device.Table
	// Audit records the queries that ended; nil: nothing is recorded.
	Audit Audit
	// Logger hears of panics; nil for none.
	Logger *slog.Logger
	// Clock is the time of answers that waited; nil for time.Now.
	Clock func() time.Time
}

// Resolver answers queries. It is safe for concurrent use.
type Resolver struct {
	state      atomic.Pointer[State]
	cache      *cache.Cache
	pending    pendingQueries
	unclean    uncleanNames
	refreshing atomic.Int32 // pending queries that nobody waited for at first
	refreshes  [2]atomic.Uint64
	unrelated  atomic.Uint64
	refusals   budget
	gate       *limit.Gate
	born       time.Time // what the gate counts from
	staleAfter time.Duration
	stats      Stats
	devices    *device.Table
	panics     atomic.Uint64
	logger     *slog.Logger
	clock      func() time.Time
}

// New makes a Resolver. It starts nothing.
func New(o Options) *Resolver {
	r := &Resolver{cache: o.Cache, staleAfter: o.StaleAfter, gate: o.Gate, born: time.Now(), devices: o.Devices, logger: o.Logger, clock: o.Clock}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	if r.clock == nil {
		r.clock = time.Now
	}
	if r.staleAfter <= 0 {
		r.staleAfter = 1800 * time.Millisecond
	}
	r.refusals.perSecond = uint32(max(o.RefusedPerSecond, 0))
	r.pending.init()
	r.unclean.init(r.pending.seed)
	r.stats.audit = o.Audit
	r.state.Store(o.State)
	return r
}

// State is what serves now.
func (r *Resolver) State() *State { return r.state.Load() }

// SetState swaps what serves. Queries under way finish with what they
// have, except that whoever waited for upstream is examined anew.
func (r *Resolver) SetState(s *State) { r.state.Store(s) }

// Stats are the counters.
func (r *Resolver) Stats() *Stats { return &r.stats }

// Panics counts the exchanges that ended in a panic, each of which became a
// SERVFAIL.
func (r *Resolver) Panics() uint64 { return r.panics.Load() }

// Answer answers q if that needs no waiting, and appends the answer to dst.
// It never blocks and never allocates, beyond dst if that is too small. With
// Outcome.Kind Pending nothing is appended and Resolve is to be called; with
// Dropped nothing is to be sent.
func (r *Resolver) Answer(dst []byte, q *Query) ([]byte, Outcome) {
	st := r.state.Load()
	q.state, q.shared, q.target, q.chain, q.inAnswer = st, nil, nil, nil, false
	v := &q.view
	o := Outcome{Ban: blocklists.NoBan}

	// What is no query, or comes from a stranger, is settled first.
	fault := v.Parse(q.Msg)
	if fault == wire.FaultDrop {
		o.Kind = Dropped
		return dst, o
	}
	q.verify()
	if !st.Serves(q.Client) {
		return r.deny(dst, q, o)
	}
	if r.gate != nil {
		if v := r.gate.Admit(q.Client, q.verified || q.Transport.AddressVerified(), r.GateClock(q.Received)); v != limit.Pass {
			return r.limited(dst, q, v, o)
		}
	}
	if fault != wire.FaultNone {
		return appendFault(dst, q, fault, o)
	}
	o.Qtype = qtypeClass(v.Type)
	if v.Class != wire.ClassIN || !forwardable(v.Type) {
		return appendRefused(dst, q, o)
	}

	// Names that stay here.
	special, labels, route := st.zone(&v.Name, v.Type)
	q.route, q.zoneLabels = route, labels
	if special != notSpecial {
		q.zoneLabels = 0
		if out, so, ok := appendSpecial(dst, q, special, labels, o); ok {
			return out, so
		}
	}

	// Policy on the name.
	q.group = q.findGroup(st.policy)
	ask := q.ask()
	q.verdict = st.policy.Question(&ask)
	if q.verdict.Kind == blocklists.Block && (!q.verdict.Wait || v.Type == wire.TypeANY) {
		return r.block(dst, q, q.verdict, o)
	}
	if v.Type == wire.TypeANY {
		return appendAny(dst, q, o)
	}

	// The cache, with policy on what it holds.
	return r.cached(dst, q, o)
}

// GateClock is an instant as the gate counts: by a clock that nobody sets.
func (r *Resolver) GateClock(t time.Time) int64 { return int64(t.Sub(r.born)) }

// Resolve finishes a query that Answer left pending. It may wait for as long
// as the upstreams are given, or until ctx ends. Where nothing is appended
// nothing is to be sent.
func (r *Resolver) Resolve(ctx context.Context, dst []byte, q *Query) ([]byte, Outcome) {
	o := Outcome{Qtype: qtypeClass(q.view.Type), Ban: blocklists.NoBan}
	if q.target == nil {
		dst, o = r.resolve(ctx, dst, q, o)
	}
	if q.target != nil {
		return r.follow(ctx, dst, q, o)
	}
	return dst, o
}

// resolve is Resolve but for what local data leads to.
func (r *Resolver) resolve(ctx context.Context, dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	l := q.shared
	if l == nil {
		l = r.join(r.newPending(q))
	}
	q.shared = nil

	// Nobody waits for longer than that, the time before included, and who
	// comes later than others waits no longer than they do.
	since := time.Unix(0, min(l.since, q.Received.UnixNano()))
	stale := time.NewTimer(r.staleAfter - r.clock().Sub(since))
	defer stale.Stop()
	for waiting := true; waiting; {
		select {
		case <-l.done:
			waiting = false
		case <-stale.C:
			if out, so, blocked := r.again(dst, q, o); blocked {
				return out, so
			}
			if out, so, ok := r.stale(dst, q, o); ok {
				return out, so
			}
		case <-ctx.Done():
			return r.fail(dst, q, edeNoReachable, false, o)
		}
	}
	if out, so, blocked := r.again(dst, q, o); blocked {
		return out, so
	}
	if l.failed {
		if out, so, ok := r.stale(dst, q, o); ok {
			return out, so
		}
		return r.fail(dst, q, l.ede, false, o)
	}
	base := len(dst)
	dst = append(dst, l.msg...)
	o.Kind = Forwarded
	return r.finish(dst, base, q, cache.Hit{Generation: l.generation, EDE: l.ede}, o)
}

// join returns where to wait for a pending query that asks the same as f, which
// begins if there is none.
func (r *Resolver) join(f pendingQuery) *sharedResult {
	name := *f.name // the pending query may outlive the query
	f.name = &name
	l, mine := r.pending.join(&f)
	if mine {
		r.launch(&f)
	}
	return l
}

// again has policy look at a question that waited, since it may have changed
// meanwhile, and reports whether it is banned now.
func (r *Resolver) again(dst []byte, q *Query, o Outcome) ([]byte, Outcome, bool) {
	st := r.state.Load()
	if st == q.state {
		return dst, o, false
	}
	q.state = st
	_, _, q.route = st.zone(&q.view.Name, q.view.Type) // an index of st's
	q.group = q.findGroup(st.policy)
	ask := q.ask()
	q.verdict = st.policy.Question(&ask)
	if q.verdict.Kind != blocklists.Block || q.verdict.Wait {
		return dst, o, false
	}
	dst, o = r.block(dst, q, q.verdict, o)
	return dst, o, true
}

// Shed answers a query that Answer left pending and that nobody has room
// for: with what is stale, as where upstream fails (RFC 8767 section 5), or else
// that too many wait. It does not block.
func (r *Resolver) Shed(dst []byte, q *Query) ([]byte, Outcome) {
	o := Outcome{Kind: Shed, Qtype: qtypeClass(q.view.Type), Ban: blocklists.NoBan}
	if q.target == nil {
		if out, so, blocked := r.again(dst, q, o); blocked {
			return out, so
		}
		if out, so, ok := r.stale(dst, q, o); ok && so.Kind != Pending {
			return out, so
		}
	}
	q.target = nil
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.ServFail)
	return q.seal(dst, base, wire.ServFail, shedOption, o)
}
