package resolver

import (
	"context"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// maxAliases is how often a chain of aliases is taken up again, and how long
// its part of one response may be.
const maxAliases = 16

// leftOff reports whether a response breaks off at an alias, and makes end what
// that leads to. The servers of a zone that was given to them by a route may know
// nothing else: they offer no recursion, and leave it to whoever asks to go on
// (RFC 1034 section 3.6.2). A resolver's word is the last, however little it says.
func leftOff(f *pendingQuery, msg []byte, resp *wire.Response, end *wire.Name) bool {
	if f.zoneLabels == 0 || f.qtype == wire.TypeCNAME || resp.Rcode != wire.NoError || resp.Answers == 0 || resp.HasSOA ||
		wire.Flags(msg)&wire.FlagRA != 0 {
		return false
	}
	return danglingAlias(f, msg, end)
}

// danglingAlias makes end what the aliases in msg lead f's name to, and
// reports whether there are any and no record of f's type.
func danglingAlias(f *pendingQuery, msg []byte, end *wire.Name) bool {
	w := wire.NewWalk(msg)
	var rec wire.Record
	for w.Next(&rec) && rec.Section == wire.Answer {
		if rec.Type == f.qtype {
			return false
		}
	}
	*end = *f.name
	for links := 0; response.Alias(msg, end); links++ {
		if links == maxAliases {
			return false
		}
	}
	return string(end.Bytes()) != string(f.name.Bytes())
}

// goOn asks for what the alias at which msg breaks off leads to, of whoever knows
// that, and returns the whole answer; resp is made that of it. It reports false if that cannot
// be had: half an answer would say that there is no data. A name that is banned, or that is
// answered here, is not asked for.
func (r *Resolver) goOn(f *pendingQuery, msg []byte, resp *wire.Response, end, scratch *wire.Name) ([]byte, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), maxFollow)
	defer cancel()
	for range maxAliases {
		p := r.state.Load().policy
		ask := blocklists.Ask{Name: f.name, Type: f.qtype, Group: p.Everyone()}
		if v, _ := p.Response(msg, &ask, blocklists.Verdict{}, scratch); v.Kind == blocklists.Block {
			break
		}
		if special, _, _ := f.state.zone(end, f.qtype); special != notSpecial {
			break
		}
		next, more := r.nextPart(ctx, f, end, scratch)
		whole, ok := response.Join(msg, next)
		var joined wire.Response
		if !ok || joined.Parse(whole, scratch) != nil {
			return nil, false
		}
		msg, *resp = whole[:joined.End], joined
		if !more || !danglingAlias(f, msg, end) {
			break
		}
	}
	return msg, true
}

// nextPart returns what the cache or an upstream says of f's question for
// another name, nil if that is nothing; more tells whether it breaks off, too.
func (r *Resolver) nextPart(ctx context.Context, f *pendingQuery, name, scratch *wire.Name) (msg []byte, more bool) {
	st := f.state
	_, labels, route := st.zone(name, f.qtype)
	g := pendingQuery{state: st, name: name, qtype: f.qtype, class: f.class, do: f.do, cd: f.cd, zoneLabels: labels, upstream: st.upstreams[route], udpSize: f.udpSize}
	if msg, hit := r.cache.Get(nil, g.key(), r.clock().UnixNano()); hit.Freshness != cache.Miss {
		if hit.Failure {
			return nil, false
		}
		return msg, false
	}
	if g.upstream.Upstream == nil {
		return nil, false
	}
	query := g.query(make([]byte, 0, wire.HeaderLen+name.Len()+4+wire.OPTLen))
	msg, err := g.upstream.Exchange(ctx, nil, query)
	var resp wire.Response
	if err != nil || resp.Parse(msg, scratch) != nil || !wire.Matches(query, withID(msg, 0)) || !acceptance.Usable(&resp) {
		return nil, false
	}
	g.upstream.hear(r.clock().UnixNano())
	msg, ok := r.dropUnrelated(msg, g.do, &resp, scratch)
	if !ok {
		return nil, false
	}
	var end wire.Name
	return msg[:resp.End], leftOff(&g, msg, &resp, &end)
}
