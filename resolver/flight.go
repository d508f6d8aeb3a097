package resolver

import (
	"context"
	"errors"
	"reflect"
	"runtime/debug"
	"sync"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
)

// flight is one exchange with upstream that any number of queries with the
// same question wait for. Its results are written before done is closed and
// never after.
type flight struct {
	done     chan struct{}
	name     wire.Name
	qtype    wire.Type
	class    wire.Class
	do, cd   bool
	upstream *target
	udpSize  uint16

	msg        []byte // without OPT
	generation uint64 // under which msg is clean for everyone; 0 if it is not
	failed     bool
	ede        int
}

// flightKey tells questions apart, and who is asked, so that a reload that
// changes the upstream does not hand out what the old one says.
type flightKey struct {
	name     string
	qtype    wire.Type
	class    wire.Class
	do, cd   bool
	upstream *target
}

// flights are those under way.
type flights struct {
	mu sync.Mutex // guards by
	by map[flightKey]*flight
}

func (fs *flights) init() { fs.by = make(map[flightKey]*flight) }

// join returns the flight for q's question. If there is none it starts
// one: run is called on a goroutine of its own, which lives as long as the
// upstream takes, whether or not anybody still waits.
func (fs *flights) join(q *Query, run func(*flight)) *flight {
	v := &q.view
	up := q.state.upstreams[q.route]
	k := flightKey{string(v.Name.Bytes()), v.Type, v.Class, v.DO, v.CD, up}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.by[k]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{}), name: v.Name, qtype: v.Type, class: v.Class,
		do: v.DO, cd: v.CD, upstream: up, udpSize: q.state.udpSize}
	fs.by[k] = f
	go func() {
		defer func() {
			fs.mu.Lock()
			delete(fs.by, k)
			fs.mu.Unlock()
			close(f.done)
		}()
		run(f)
	}()
	return f
}

// fly asks upstream and stores what it says. A panic on the way ends this
// flight in failure and nothing else.
func (r *Resolver) fly(f *flight) {
	defer func() {
		if p := recover(); p != nil {
			f.failed, f.ede = true, edeNetwork
			r.panics.Add(1)
			r.logger.Error("query failed by a fault in the program", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	key := cache.Key{Name: &f.name, Type: f.qtype, Class: f.class, DO: f.do, CD: f.cd}
	fail := func(ede int) {
		f.failed, f.ede = true, ede
		if r.current(f) {
			r.cache.PutFailure(key, wire.ServFail, ede, r.clock().UnixNano())
		}
	}
	if f.upstream.Upstream == nil {
		f.failed, f.ede = true, edeNoReachable
		return
	}
	query := wire.AppendQuery(nil, 0, &f.name, f.qtype, f.class, f.do, f.cd, true, f.udpSize)
	msg, err := f.upstream.Exchange(context.Background(), nil, query)
	if err != nil {
		ede := edeNoReachable
		if errors.Is(err, upstream.ErrNetwork) {
			ede = edeNetwork
		}
		fail(ede)
		return
	}
	var scratch wire.Name
	var resp wire.Response
	if err := resp.Parse(msg, &scratch); err != nil || !wire.Matches(query, withID(msg, 0)) {
		fail(edeNetwork)
		return
	}
	msg = msg[:resp.End]
	if resp.TC || resp.Rcode != wire.NoError && resp.Rcode != wire.NXDomain && resp.Rcode != wire.YXDomain {
		ede := edeNoReachable
		if resp.EDE >= 0 && resp.Rcode == wire.ServFail {
			ede = resp.EDE // what a validating upstream has to say, say (RFC 8914 section 3)
		}
		fail(ede)
		return
	}
	p := r.state.Load().policy
	if v, trim := p.Response(msg, p.Everyone(), &scratch); v.Kind == blocklists.Pass && !trim {
		f.generation = p.Generation()
	}
	f.msg = msg
	if r.keep(f, key, &resp) {
		// With the TTLs that the next client will see, too.
		if kept, hit := r.cache.GetStale(nil, key, r.clock().UnixNano()); hit.State == cache.Fresh {
			f.msg = kept
			return
		}
	}
	wire.CapTTLs(msg, r.cache.MaxTTL())
}

// keep stores what a flight brought, unless a reload sends the question
// elsewhere now, where the answer may be another. That is looked at before and
// after, since whoever empties the cache does it after the reload.
func (r *Resolver) keep(f *flight, key cache.Key, resp *wire.Response) bool {
	if !r.current(f) || !r.cache.Put(key, f.msg, resp, f.generation, r.clock().UnixNano()) {
		return false
	}
	if !r.current(f) {
		r.cache.Remove(key)
		return false
	}
	return true
}

// current reports whether f's question would still go to f's upstream.
func (r *Resolver) current(f *flight) bool {
	st := r.state.Load()
	_, _, route := st.zone(&f.name)
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
