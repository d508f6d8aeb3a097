// Package resolver answers queries: by policy, from the cache, or from an
// upstream, in that order.
//
// A query's way is the body of two methods, from top to bottom.
// [Resolver.Answer] answers what needs no waiting, on the listener's own
// goroutine, without blocking and without allocating. What it leaves pending,
// [Resolver.Resolve] finishes: one exchange with an upstream for all queries
// with the same question, policy on the response, cache, answer. Bytes go in
// and bytes come out; the caller owns both. A listener with an event loop lets
// such queries wait in [Misses] instead: the same steps without a goroutine for
// each query, and Resolve for those that need one after all.
//
// Everything that a reload may change is in one immutable [State] behind one
// atomic pointer. A query loads it once. A query that waited loads it again, so
// that a ban that came into force meanwhile holds for it too.
//
// Where a query ends, the listener passes it with its [Outcome] to
// [Counters.Observe], which counts it for metrics and records it for package
// audit.
package resolver

import (
	"cmp"
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/device"
	"rideau/resolver/forward"
	"rideau/resolver/limit"
	"rideau/resolver/qtype"
	"rideau/resolver/special"
	"rideau/resolver/steady"
	"rideau/resolver/wire"
)

// Options configure a Resolver.
type Options struct {
	Cache *cache.Cache
	State *State
	// RefusedPerSecond bounds the REFUSED responses to clients that are not
	// allowed. Beyond it they get no response, so that queries with forged
	// addresses cannot use the server as a reflector.
	RefusedPerSecond int
	// StaleAfter is how long a query waits for upstream before it is answered
	// with a stale entry, if there is one (RFC 8767 section 5: 1.8 seconds).
	StaleAfter time.Duration
	// Gate limits the rate of clients; nil: there is no limit.
	Gate *limit.Gate
	// Devices counts the devices that try to go round this resolver; nil: they
	// are not counted.
	Devices *device.Table
	// Audit records the queries that ended; nil: nothing is recorded.
	Audit Audit
	// TestKey ends the messages of queries by which this process tests itself.
	// They are answered as others are, but what a ban does to them is neither
	// counted nor recorded as if a client had asked. It is secret and random.
	// Empty: there are no such queries.
	TestKey []byte
	// Logger logs panics; nil: nothing is logged.
	Logger *slog.Logger
	// Steady is the clock by which the cache was filled; nil: one that begins now.
	Steady *steady.Clock
	// Clock is the time of queries that waited; nil: time.Now.
	Clock func() time.Time
}

// Resolver answers queries. It is safe for concurrent use.
type Resolver struct {
	state      atomic.Pointer[State]
	cache      *cache.Cache
	exchanges  *forward.Exchanges
	refusals   limit.PerSecond
	gate       *limit.Gate
	steady     *steady.Clock
	staleAfter time.Duration
	stats      Stats
	devices    *device.Table
	testKey    []byte
	panics     atomic.Uint64
	logger     *slog.Logger
	clock      func() time.Time
}

// New makes a Resolver. It starts nothing.
func New(o Options) *Resolver {
	r := &Resolver{cache: o.Cache, steady: cmp.Or(o.Steady, steady.New(time.Now())), staleAfter: cmp.Or(max(o.StaleAfter, 0), 1800*time.Millisecond), gate: o.Gate, devices: o.Devices, testKey: o.TestKey, logger: o.Logger, clock: o.Clock}
	if r.logger == nil {
		r.logger = slog.New(slog.DiscardHandler)
	}
	if r.clock == nil {
		r.clock = time.Now
	}
	r.refusals.SetMax(o.RefusedPerSecond)
	r.exchanges = forward.New(o.Cache, r.steady, r.clock, r.panicked)
	r.stats.audit = o.Audit
	r.SetState(o.State)
	return r
}

// State returns the State in use.
func (r *Resolver) State() *State { return r.state.Load() }

// SetState replaces the State in use. A query that is being answered keeps the
// old one; a query that waits for upstream is checked against the new policy
// before it is answered.
func (r *Resolver) SetState(s *State) {
	r.exchanges.SetRouting(s.routing)
	r.state.Store(s)
}

// Exchanges returns the exchanges with upstreams.
func (r *Resolver) Exchanges() *forward.Exchanges { return r.exchanges }

// Stats returns what makes and sums the counters of workers.
func (r *Resolver) Stats() *Stats { return &r.stats }

// Panics counts the exchanges that ended in a panic. Their queries are answered
// with SERVFAIL.
func (r *Resolver) Panics() uint64 { return r.panics.Load() }

// Answer answers q if that needs no waiting, and appends the response to dst.
// It never blocks, and allocates nothing unless dst is too small. With the kind
// Pending nothing is appended, and Resolve is to be called. With Dropped, and
// whenever nothing is appended otherwise, no response is to be sent.
func (r *Resolver) Answer(dst []byte, q *Query) ([]byte, Outcome) {
	st := r.state.Load()
	q.state, q.gate, q.shared, q.target, q.chain, q.inAnswer, q.test, q.server = st, r.gate, nil, nil, nil, false, false, 0
	v := &q.view
	o := Outcome{Ban: blocklists.NoBan}

	// A message that is no query gets no response, which could start a loop. A
	// client that is not allowed, or exceeds its rate, learns nothing else, not
	// even what is wrong with its message.
	fault := v.Parse(q.Msg)
	if fault == wire.FaultDrop {
		o.Kind = Dropped
		return dst, o
	}
	q.verify()
	if fault != wire.FaultNone && !q.mayErr(fault) {
		o.Kind = Dropped
		return dst, o
	}
	if !st.Serves(q.Client) && !(q.Claims != nil && q.Claims.Served) {
		return r.deny(dst, q, o)
	}
	if r.gate != nil {
		if v := r.gate.Admit(q.Client, q.verified || q.Transport.AddressVerified(), r.steady.At(q.Received)); v != limit.Pass {
			return r.limited(dst, q, v, o)
		}
	}
	if fault != wire.FaultNone {
		return appendFault(dst, q, fault, o)
	}
	o.Qtype = qtype.Of(v.Type)
	if v.Class != wire.ClassIN || !forwardable(v.Type) {
		return appendRefused(dst, q, o)
	}

	if out, ok := st.presence.Append(dst, v, q.Msg); ok {
		return q.special(out, len(dst), o)
	}

	// Special-use names are answered here (RFC 6761), unless a route takes them.
	zone, labels, route := st.routing.Zone(&v.Name, v.Type)
	q.route, q.zoneLabels, q.share = route, labels, limit.Share{}
	if zone != special.None {
		q.zoneLabels = 0
		if out, ok := st.designated.Append(dst, v, q.Msg); ok {
			o.Kind = Special
			dst, o.Rcode = q.seal(out, len(dst), wire.NoError, nil)
			return dst, o
		}
		if out, ok := special.Append(dst, v, q.Msg, zone, labels); ok {
			return q.special(out, len(dst), o)
		}
	}

	// Policy on the question. A verdict with Wait depends on the response.
	q.group = q.findGroup(st.policy)
	ask := q.ask()
	q.verdict = st.policy.Question(&ask)
	if q.verdict.Kind == blocklists.Block && (!q.verdict.Wait || v.Type == wire.TypeANY) {
		return r.block(dst, q, q.verdict, o)
	}
	if v.Type == wire.TypeANY {
		return q.special(special.AppendAny(dst, v, q.Msg), len(dst), o)
	}

	// The cache, and policy on the stored response.
	return r.cached(dst, q, o)
}

// Steady is the clock of the cache and of the gate.
func (r *Resolver) Steady() *steady.Clock { return r.steady }

// Resolve finishes a query that Answer left pending, and appends the response
// to dst. It waits for upstream until the upstream's timeout or until ctx ends.
// If nothing is appended, no response is to be sent.
func (r *Resolver) Resolve(ctx context.Context, dst []byte, q *Query) ([]byte, Outcome) {
	o := Outcome{Qtype: qtype.Of(q.view.Type), Ban: blocklists.NoBan}
	if q.target == nil {
		dst, o = r.resolve(ctx, dst, q, o)
	}
	if o.Kind == Pending && q.target == nil {
		// The answer is partial, and the policy has changed since it was asked for.
		if dst, o = r.resolve(ctx, dst, q, o); o.Kind == Pending && q.target == nil {
			return r.fail(dst, q, wire.EDENotReady, false, o)
		}
	}
	if q.target != nil {
		return r.follow(ctx, dst, q, o)
	}
	return dst, o
}

// resolve is Resolve, but returns the kind Pending if the answer is an alias whose
// target has to be resolved, with q.target set, or if it is partial: see finish.
func (r *Resolver) resolve(ctx context.Context, dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	shared := q.shared
	if shared == nil {
		shared = r.exchanges.Join(r.newPending(q))
	}
	q.shared = nil

	// The query waits since it came, or since the exchange began if that was earlier.
	waited := r.steady.At(r.clock()) - min(shared.Since(), r.steady.At(q.Received))
	stale := time.NewTimer(r.staleAfter - time.Duration(waited))
	defer stale.Stop()
	for waiting := true; waiting; {
		select {
		case <-shared.Done():
			waiting = false
		case <-stale.C:
			if out, so, blocked := r.recheck(dst, q, o); blocked {
				return out, so
			}
			if out, so, ok := r.stale(dst, q, o); ok {
				return out, so
			}
		case <-ctx.Done():
			return r.fail(dst, q, wire.EDENoReachable, false, o)
		}
	}
	if out, so, blocked := r.recheck(dst, q, o); blocked {
		return out, so
	}
	res := shared.Result()
	q.server = res.Server
	if res.Failed || res.Cut && q.Transport.LargeAnswers() && wire.Count(res.Msg, wire.Answer) == 0 {
		if out, so, ok := r.stale(dst, q, o); ok {
			return out, so
		}
		return r.fail(dst, q, res.EDE, false, o)
	}
	o.Kind = Forwarded
	return r.finish(append(dst, res.Msg...), len(dst), q, cache.Hit{Generation: res.Generation, EDE: res.EDE, Truncated: res.Cut}, o)
}

// question is what upstreams are asked for q. It borrows q's name.
func (q *Query) question() forward.Question {
	v := &q.view
	return forward.Question{Name: &v.Name, Type: v.Type, Class: v.Class, DO: v.DO, CD: v.CD, Route: q.route, ZoneLabels: q.zoneLabels, Share: q.share}
}

// newPending is the pending query for q. It borrows q's name.
func (r *Resolver) newPending(q *Query) forward.Pending {
	return r.exchanges.Pending(q.state.routing, q.question(), r.steady.At(q.Received))
}

// panicked counts and logs a panic that was recovered.
func (r *Resolver) panicked(p any) {
	r.panics.Add(1)
	r.logger.Error("query failed by a fault in the program", "panic", p, "stack", string(debug.Stack()))
}

// recheck applies the policy in use now to a query that waited. It reports true
// if that bans the question and the query is answered or, where the answer is an
// alias, left pending.
func (r *Resolver) recheck(dst []byte, q *Query, o Outcome) ([]byte, Outcome, bool) {
	st := r.state.Load()
	if st == q.state {
		return dst, o, false
	}
	q.state = st
	_, _, q.route = st.routing.Zone(&q.view.Name, q.view.Type) // an index into st's routes
	q.group = q.findGroup(st.policy)
	ask := q.ask()
	q.verdict = st.policy.Question(&ask)
	if q.verdict.Kind != blocklists.Block || q.verdict.Wait {
		return dst, o, false
	}
	dst, o = r.block(dst, q, q.verdict, o)
	return dst, o, true
}

// Shed answers a query that Answer left pending and that may not wait, since
// too many do: with a stale entry, as where upstream fails (RFC 8767 section 5),
// or else with SERVFAIL. It does not block.
func (r *Resolver) Shed(dst []byte, q *Query) ([]byte, Outcome) {
	o := Outcome{Kind: Shed, Qtype: qtype.Of(q.view.Type), Ban: blocklists.NoBan}
	if q.target == nil {
		if out, so, blocked := r.recheck(dst, q, o); blocked {
			return out, so
		}
		if out, so, ok := r.stale(dst, q, o); ok && so.Kind != Pending {
			return out, so
		}
	}
	q.target = nil
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.ServFail)
	dst, o.Rcode = q.seal(dst, base, wire.ServFail, shedOption...)
	return dst, o
}
