package forward

import (
	"context"
	"time"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/special"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

const (
	// maxRestarts is how often what an alias leads to is asked for anew. Others do
	// that 10 to 16 times.
	maxRestarts = 16
	// maxFollow is how long a query waits for the target of an alias, in all.
	// The upstream's own timeout is shorter.
	maxFollow = 10 * time.Second
)

// Elsewhere implements [response.Router]: the name that an alias leads to is asked
// for where a question for it goes. What p's upstream says of it counts only if it is
// the one that would be asked.
func (p *Pending) Elsewhere(target *wire.Name) bool {
	zone, _, route := p.routing.Zone(target, p.Type)
	if zone != special.None {
		return true
	}
	t := p.routing.targets[route]
	return t.Upstream != nil && !t.same(p.target)
}

// follow asks for what the alias leads to at which a response breaks off, of the
// upstreams that know it, and makes the response the whole answer. Otherwise ok is
// false, and ede says why: half an answer would say that there is no data. A name
// that no client may have is not asked for: see [blocklists.Snapshot.BlocksAll]. Then the
// response is marked as partial: it is enough for as long as that policy holds. The
// cache does not store it, since it neither answers nor denies.
func (x *Exchanges) follow(p *Pending, r *incoming) (ede int, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), maxFollow)
	defer cancel()
	end := *r.rel.End()
	for range maxRestarts {
		if x.routing.Load().policy.BlocksAll(r.msg, blocklists.Ask{Name: p.Name, Type: p.Type}, &r.name) {
			response.MarkPartial(r.msg)
			return 0, true
		}
		next := *p
		next.Name, next.shared, next.started = &end, nil, nil
		part, to, f := x.part(ctx, &next)
		switch f {
		case none, breaksOff:
		case endless:
			return wire.EDEInvalidData, false
		default:
			return wire.EDENoReachable, false
		}
		whole, ok := response.Join(r.msg, part)
		if !ok || r.resp.Parse(whole, &r.name) != nil {
			return wire.EDEInvalidData, false
		}
		r.msg = whole[:r.resp.End]
		switch g := x.relate(p, r, nil); {
		case g == endless || g == unrelated:
			return wire.EDEInvalidData, false
		case f == none:
			return 0, true
		}
		end = *to
	}
	return wire.EDEInvalidData, false
}

// part returns what is answered to p's question: here, by the cache, or by an
// upstream. With breaksOff it ends at an alias, too, that leads to the name end. An
// answer of an upstream that is whole is stored.
func (x *Exchanges) part(ctx context.Context, p *Pending) (msg []byte, end *wire.Name, f fault) {
	var zone uint16
	zone, p.ZoneLabels, p.Route = p.routing.Zone(p.Name, p.Type)
	if zone != special.None {
		if msg, ok := special.Answer(p.newQuery(0), zone, p.ZoneLabels); ok {
			return msg, nil, none
		}
	}
	p.target = p.routing.targets[p.Route]
	if msg, hit := x.cache.Get(nil, p.Key(), x.now()); hit.Freshness != cache.Miss {
		if hit.Failure {
			return nil, nil, unusable
		}
		return msg, nil, none
	}
	if p.target.Upstream == nil {
		return nil, nil, unusable
	}
	query := p.newQuery(p.routing.udpSize)
	msg, err := p.target.Exchange(x.context(ctx, p), nil, query)
	if err != nil || !matches(query, msg) {
		return nil, nil, unusable
	}
	var r incoming
	f = x.examine(p, msg, &r)
	if f == malformed || f == unusable || f == cut {
		return nil, nil, f
	}
	now := x.now()
	p.target.noteAnswer(now)
	if f == none || f == empty {
		return x.store(p, nil, &r, now).Msg, nil, none
	}
	return r.msg, r.rel.End(), f
}

// Fetch returns the answer to a question: that of a special-use zone, from the
// cache, or from the upstream that a Routing says; q's Route and ZoneLabels are not
// read. If the upstream does not answer in time, an expired answer will do. It
// reports false if there is none. since is when the query came.
func (x *Exchanges) Fetch(ctx context.Context, r *Routing, q Question, since time.Time) ([]byte, bool) {
	var zone uint16
	if zone, q.ZoneLabels, q.Route = r.Zone(q.Name, q.Type); zone != special.None {
		if msg, ok := special.Answer(q.newQuery(0), zone, q.ZoneLabels); ok {
			return msg, true
		}
	}
	now := x.now()
	if msg, hit := x.cache.Get(nil, q.Key(), now); hit.Freshness != cache.Miss {
		return msg, !hit.Failure
	}
	shared := x.Join(x.Pending(r, q, x.steady.At(since)))
	patience := time.NewTimer(maxFollow)
	defer patience.Stop()
	select {
	case <-shared.Done():
		return shared.result.Msg, !shared.result.Failed && !shared.result.Cut && !response.IsPartial(shared.result.Msg)
	case <-patience.C:
	case <-ctx.Done():
	}
	msg, hit := x.cache.GetStale(nil, q.Key(), now)
	return msg, hit.Freshness != cache.Miss
}
