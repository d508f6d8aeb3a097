package resolver

import (
	"context"

	"rideau/blocklists"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// local answers with the records that a policy zone or a ban has for the
// question. If they are an alias, the query is left pending with q.target set:
// follow resolves the target, as if the name were an alias in the DNS
// (draft-vixie-dnsop-dns-rpz-00 section 3.6).
func (r *Resolver) local(dst []byte, q *Query, verdict blocklists.Verdict, o Outcome) ([]byte, Outcome) {
	p := q.state.policy
	v := &q.view
	records := p.LocalData(verdict)
	for i := range records {
		if records[i].Type != wire.TypeCNAME || v.Type == wire.TypeCNAME || v.Type == wire.TypeANY || !v.RD {
			continue
		}
		q.verdict = verdict
		if target, ok := aliasTarget(records[i].Data, q.stopped(verdict)); ok {
			q.target = target
			o.Kind = Pending
			return dst, o
		}
		return r.appendEmpty(dst, q, verdict, wire.NXDomain, r.blocked(q, verdict, o))
	}
	o = r.blocked(q, verdict, o)
	base := len(dst)
	dst = wire.Reply(dst, v, q.Msg, wire.NoError)
	dst, owner := q.appendChain(dst, base, verdict)
	n := wire.Count(dst[base:], wire.Answer)
	for i := range records {
		l := &records[i]
		if l.Type != v.Type && v.Type != wire.TypeANY && l.Type != wire.TypeCNAME {
			continue
		}
		data := l.Data
		if l.Type == wire.TypeCNAME {
			if target, ok := aliasTarget(data, q.stopped(verdict)); ok {
				data = target.Bytes()
			}
		}
		dst = wire.AppendRecord(dst, base, wire.Answer, owner, l.Type, l.TTL, data)
	}
	if wire.Count(dst[base:], wire.Answer) == n {
		dst = wire.AppendSOA(dst, base, wire.Authority, owner, p.BanTTL(verdict.Ban))
	}
	dst, o.Rcode = q.seal(dst, base, wire.NoError, p.BanOptions(verdict.Ban, &q.view, q.Msg)...)
	return dst, o
}

// stopped is the name that a policy zone stopped: the question's, or one that
// this is an alias of.
func (q *Query) stopped(verdict blocklists.Verdict) *wire.Name {
	name := q.view.Name
	if q.chain == nil || verdict.Links == 0 {
		return &name
	}
	aliases := response.ReadAliases(q.chain, nil)
	for range verdict.Links {
		if !aliases.Follow(&name) {
			break
		}
	}
	return &name
}

// appendEmpty appends a negative response by a ban: rcode, and no records for
// the question.
func (r *Resolver) appendEmpty(dst []byte, q *Query, verdict blocklists.Verdict, rcode wire.Rcode, o Outcome) ([]byte, Outcome) {
	p := q.state.policy
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, rcode)
	dst, owner := q.appendChain(dst, base, verdict)
	dst = wire.AppendSOA(dst, base, wire.Authority, owner, p.BanTTL(verdict.Ban))
	dst, o.Rcode = q.seal(dst, base, rcode, p.BanOptions(verdict.Ban, &q.view, q.Msg)...)
	return dst, o
}

// aliasTarget is the name that local data makes name an alias of: target, or,
// if target begins with an asterisk, name below the rest of target. ok is false
// if the result is too long for a name.
func aliasTarget(target []byte, name *wire.Name) (*wire.Name, bool) {
	out := new(wire.Name)
	if len(target) > 2 && target[0] == 1 && target[1] == '*' {
		n := name.Bytes()
		long := append(append(make([]byte, 0, 2*wire.MaxName), n[:len(n)-1]...), target[2:]...)
		return out, out.Set(long) == nil
	}
	return out, out.Set(target) == nil
}

// follow finishes a query whose answer is an alias by local data. No other
// policy zone applies to the target, but bans do.
func (r *Resolver) follow(ctx context.Context, dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	verdict, target := q.verdict, q.target
	p := q.state.policy
	o = r.blocked(q, verdict, o)
	ask := q.ask()
	ask.Name, ask.Final = target, true
	if w := p.Question(&ask); w.Kind == blocklists.Block {
		return r.appendEmpty(dst, q, verdict, wire.NXDomain, o)
	}
	question := q.question()
	question.Name = target
	msg, ok := r.exchanges.Fetch(ctx, q.state.routing, question, q.Received)
	if !ok {
		return r.fail(dst, q, wire.EDENoReachable, false, o)
	}
	// The local data is that of when the query was answered first. The bans are
	// those of now.
	now := r.state.Load().policy
	ask.Group = q.findGroup(now)
	var scratch wire.Name
	w := now.Question(&ask)
	if w.Kind != blocklists.Block {
		w, _ = now.Response(msg, &ask, blocklists.Verdict{}, &scratch)
	}
	if w.Kind == blocklists.Block {
		return r.appendEmpty(dst, q, verdict, wire.NXDomain, o)
	}
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.HeaderRcode(msg))
	ttl := p.BanTTL(verdict.Ban)
	for _, l := range p.LocalData(verdict) {
		if l.Type == wire.TypeCNAME {
			ttl = l.TTL
		}
	}
	dst, owner := q.appendChain(dst, base, verdict)
	dst = wire.AppendRecord(dst, base, wire.Answer, owner, wire.TypeCNAME, ttl, target.Bytes())
	const limit = wire.MaxMessage - 1024 // leaves space for the OPT record
	dst = response.AppendAnswer(dst, base, msg, limit)
	dst, o.Rcode = q.seal(dst, base, wire.NoError, p.BanOptions(verdict.Ban, &q.view, q.Msg)...)
	return dst, o
}
