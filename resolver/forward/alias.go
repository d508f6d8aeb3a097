package forward

import (
	"context"
	"time"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/special"
	"rideau/resolver/upstream"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

const (
	// maxAliases is how often a chain of aliases is continued, and how long
	// its part of one response may be.
	maxAliases = 16
	// maxFollow is how long a query waits for the target of an alias, in all.
	// The upstream's own timeout is shorter.
	maxFollow = 10 * time.Second
)

// breaksOff reports whether a response ends at an alias, and sets r.end to the
// name that it leads to. The servers of a zone to which a route goes may know
// nothing else: they offer no recursion, and leave it to the client to continue
// (RFC 1034 section 3.6.2). The response of a resolver is complete, however
// little it says.
func (p *Pending) breaksOff(r *incoming) bool {
	if p.ZoneLabels == 0 || p.Type == wire.TypeCNAME || r.resp.Rcode != wire.NoError || r.resp.Answers == 0 || r.resp.HasSOA ||
		wire.Flags(r.msg)&wire.FlagRA != 0 {
		return false
	}
	return p.danglingAlias(r)
}

// danglingAlias sets r.end to the name that the aliases in a response lead p's
// name to, and reports whether there are any and no record of p's type.
func (p *Pending) danglingAlias(r *incoming) bool {
	w := wire.NewWalk(r.msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if rec.Type == p.Type {
			return false
		}
	}
	r.end = *p.Name
	var tmp [response.UsualLinks]response.Link
	aliases := response.ReadAliases(r.msg, tmp[:0])
	for links := 0; aliases.Follow(&r.end); links++ {
		if links == maxAliases {
			return false
		}
	}
	return string(r.end.Bytes()) != string(p.Name.Bytes())
}

// follow asks the upstreams that know it for what the alias leads to at which a
// response breaks off, and makes the response the whole answer. It reports
// false if that cannot be had: half an answer would say that there is no data.
// A name that is answered here is not asked for, nor is one that no client may
// have: see [blocklists.Snapshot.BlocksAll]. In the second case the response is
// marked as partial: it is enough for as long as that policy holds. The cache does
// not store it, since it neither answers nor denies.
func (x *Exchanges) follow(p *Pending, r *incoming) bool {
	ctx, cancel := context.WithTimeout(upstream.WithShare(context.Background(), p.Share), maxFollow)
	defer cancel()
	for range maxAliases {
		if x.routing.Load().policy.BlocksAll(r.msg, blocklists.Ask{Name: p.Name, Type: p.Type}, &r.name) {
			response.MarkPartial(r.msg)
			break
		}
		zone, labels, route := p.routing.Zone(&r.end, p.Type)
		if zone != special.None {
			break
		}
		next := Pending{Question: p.Question, routing: p.routing, target: p.routing.targets[route]}
		next.Name, next.Route, next.ZoneLabels = &r.end, route, labels
		part, more := x.part(ctx, &next)
		whole, ok := response.Join(r.msg, part)
		var joined wire.Response
		if !ok || joined.Parse(whole, &r.name) != nil {
			return false
		}
		r.msg, r.resp = whole[:joined.End], joined
		if !more || !p.danglingAlias(r) {
			break
		}
	}
	return true
}

// part returns what the cache or an upstream answers to p, nil if that is
// nothing. more is whether it breaks off, too.
func (x *Exchanges) part(ctx context.Context, p *Pending) (msg []byte, more bool) {
	if msg, hit := x.cache.Get(nil, p.Key(), x.clock().UnixNano()); hit.Freshness != cache.Miss {
		if hit.Failure {
			return nil, false
		}
		return msg, false
	}
	if p.target.Upstream == nil {
		return nil, false
	}
	query := p.newQuery(p.routing.udpSize)
	msg, err := p.target.Exchange(ctx, nil, query)
	if err != nil || !matches(query, msg) {
		return nil, false
	}
	var r incoming
	f := x.examine(p, msg, &r)
	if f == malformed || f == unusable {
		return nil, false
	}
	p.target.noteAnswer(x.clock().UnixNano())
	if f == unrelated {
		return nil, false
	}
	return r.msg, f == breaksOff
}

// Fetch returns the answer to a question, from the cache or from the upstream
// that a Routing says; q's Route and ZoneLabels are not read. If the upstream
// does not answer in time, an expired answer will do. It reports false if there
// is none, or the name is answered here. since is when the query came.
func (x *Exchanges) Fetch(ctx context.Context, r *Routing, q Question, since time.Time) ([]byte, bool) {
	var zone uint16
	if zone, q.ZoneLabels, q.Route = r.Zone(q.Name, q.Type); zone != special.None {
		return nil, false
	}
	now := x.clock().UnixNano()
	if msg, hit := x.cache.Get(nil, q.Key(), now); hit.Freshness != cache.Miss {
		return msg, !hit.Failure
	}
	shared := x.Join(x.Pending(r, q, since.UnixNano()))
	patience := time.NewTimer(maxFollow)
	defer patience.Stop()
	select {
	case <-shared.Done():
		return shared.result.Msg, !shared.result.Failed && !response.IsPartial(shared.result.Msg)
	case <-patience.C:
	case <-ctx.Done():
	}
	msg, hit := x.cache.GetStale(nil, q.Key(), now)
	return msg, hit.Freshness != cache.Miss
}
