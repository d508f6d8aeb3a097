package resolver

import (
	"bytes"
	"slices"

	"rideau/blocklists"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// block answers as a ban demands. Kind Pending means that the answer is an
// alias whose target has to be resolved first.
func (r *Resolver) block(dst []byte, q *Query, verdict blocklists.Verdict, o Outcome) ([]byte, Outcome) {
	if verdict.Action == blocklists.LocalData {
		return r.local(dst, q, verdict, o)
	}
	o = r.blocked(q, verdict, o)
	p := q.state.policy
	ban := p.Ban(verdict.Ban)
	v := &q.view
	base := len(dst)
	rcode := wire.NoError
	switch verdict.Action {
	case blocklists.Drop:
		o.Kind = Dropped
		return dst, o
	case blocklists.NXDomain:
		rcode = wire.NXDomain
	case blocklists.Refuse:
		rcode = wire.Refused
	}
	dst = wire.Reply(dst, v, q.Msg, rcode)
	ttl := p.BanTTL(verdict.Ban)
	owner := wire.HeaderLen
	if verdict.Action != blocklists.Refuse && verdict.Action != blocklists.TCPOnly {
		dst, owner = q.appendChain(dst, base, verdict)
	}
	switch {
	case verdict.Action == blocklists.Refuse:
	case verdict.Action == blocklists.TCPOnly:
		wire.SetFlags(dst[base:], wire.Flags(dst[base:])|wire.FlagTC)
	case verdict.Action == blocklists.Sinkhole && v.Type == wire.TypeA && ban.Sinkhole4.IsValid():
		a := ban.Sinkhole4.As4()
		dst = wire.AppendRecord(dst, base, wire.Answer, owner, v.Type, ttl, a[:])
	case verdict.Action == blocklists.Sinkhole && v.Type == wire.TypeAAAA && ban.Sinkhole6.IsValid():
		a := ban.Sinkhole6.As16()
		dst = wire.AppendRecord(dst, base, wire.Answer, owner, v.Type, ttl, a[:])
	default:
		// The owner of the SOA record is the name itself. With an owner
		// further up, a resolver that applies NXDOMAIN to all names below
		// it (RFC 8020) could deny names that are not banned.
		dst = wire.AppendSOA(dst, base, wire.Authority, owner, ttl)
	}
	dst, o.Rcode = q.seal(dst, base, rcode, p.BanOptions(verdict.Ban, &q.view, q.Msg)...)
	return dst, o
}

// blocked is o for a query that a ban stops: of a client, or of this process.
func (r *Resolver) blocked(q *Query, verdict blocklists.Verdict, o Outcome) Outcome {
	p := q.state.policy
	q.verdict = verdict
	if len(r.testKey) > 0 && bytes.HasSuffix(q.Msg, r.testKey) {
		o.Kind, q.test = Special, true
		return o
	}
	o.Kind, o.Ban, o.Action, o.Monitored, o.Marks = Blocked, p.BanSlot(verdict.Ban), verdict.Action, false, Banned
	if p.Ban(verdict.Ban).Bypass {
		o.Marks |= r.bypass(q)
	}
	return o
}

// appendChain appends the aliases that lead to the name that was stopped, and
// returns the offset of that name.
func (q *Query) appendChain(dst []byte, base int, verdict blocklists.Verdict) ([]byte, int) {
	if q.chain == nil {
		return dst, wire.HeaderLen
	}
	name := q.view.Name
	return response.AppendAliases(dst, base, q.chain, &name, int(verdict.Links))
}

// blockChain is block for a name that the message in dst, from base on, reaches
// by aliases. The response keeps the aliases up to that name.
func (r *Resolver) blockChain(dst []byte, base int, q *Query, verdict blocklists.Verdict, o Outcome) ([]byte, Outcome) {
	q.chain = dst[base:]
	out, o := r.block(dst, q, verdict, o)
	if o.Kind == Pending {
		q.chain = slices.Clone(q.chain)
		return dst[:base], o
	}
	q.chain = nil
	return append(out[:base], out[len(dst):]...), o
}

// bypass counts an attempt of a device to go round this resolver. It returns
// the mark Bypass unless the device was reported lately.
func (r *Resolver) bypass(q *Query) Marks {
	if blocklists.IsCanary(&q.view.Name) {
		return 0
	}
	if r.devices == nil || r.devices.Seen(q.state.policy.GroupName(q.group), q.Client, q.Received) {
		return Bypass
	}
	return 0
}
