package resolver

import (
	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
	"rideau/resolver/wire/svcb"
)

// EDNS options of responses that are always the same. Nothing writes to them.
var (
	staleOption       = wire.AppendEDE(nil, wire.EDEStale, "")
	staleDenialOption = wire.AppendEDE(nil, wire.EDEStaleNXDomain, "")
	deniedOption      = wire.AppendEDE(nil, wire.EDEProhibited, "")
	notSupported      = wire.AppendEDE(nil, wire.EDENotSupported, "")
	noRecursionOption = withText(wire.EDENotAuthoritative, "recursion not asked for, and not in the cache")
	limitedOption     = withText(wire.EDEProhibited, "too many queries")
	shedOption        = withText(wire.EDENoReachable, "too many queries are waiting")
)

// withText returns options for seal: an extended error with a text, and without it.
func withText(code uint16, text string) [][]byte {
	return [][]byte{wire.AppendEDE(nil, code, text), wire.AppendEDE(nil, code, "")}
}

// key is the cache's key of the response to q. It borrows q's name.
func (q *Query) key() cache.Key {
	v := &q.view
	return cache.Key{Name: &v.Name, Type: v.Type, Class: v.Class, DO: v.DO, CD: v.CD, ZoneLabels: q.zoneLabels}
}

// cached answers from the cache, or leaves the query pending.
func (r *Resolver) cached(dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	v := &q.view
	base := len(dst)
	k := q.key()
	if !q.Transport.LargeAnswers() {
		k.MaxSize, k.Generation = int(min(v.UDPSize, q.state.udpSize)), q.state.policy.Generation()
	}
	out, hit := r.cache.Get(dst, k, r.steady.At(q.Received))
	if hit.Freshness != cache.Miss {
		if hit.Failure {
			var ok bool
			if out, o, ok = r.stale(dst, q, o); !ok {
				out, o = r.fail(dst, q, hit.EDE, true, o)
			}
		} else {
			o.Kind = Cached
			out, o = r.finish(out, base, q, hit, o)
		}
		if hit.Refresh && v.RD && (o.Kind == Cached || o.Kind == Stale || o.Kind == Failed) {
			r.exchanges.Refresh(r.newPending(q), hit.Failure)
		}
		return out, o
	}
	if !v.RD && q.verdict.Wait {
		return r.block(dst, q, q.verdict, o)
	}
	if !v.RD {
		// RFC 8914 section 4.21
		o.Kind = Refused
		out = wire.Reply(dst, v, q.Msg, wire.Refused)
		dst, o.Rcode = q.seal(out, base, wire.Refused, noRecursionOption...)
		return dst, o
	}
	o.Kind = Pending
	return dst, o
}

// finish turns a stored or received message, copied to dst from base on, into
// the response to q: policy on the message, then the facts for the records of
// queries, then the header and the options that this client gets. hit is what
// the cache knows of the message. A partial answer to a client that is not
// banned leaves the query pending, and the question is to be asked anew.
func (r *Resolver) finish(dst []byte, base int, q *Query, hit cache.Hit, o Outcome) ([]byte, Outcome) {
	verdict, trim := q.verdict, false
	if hit.Generation != q.state.policy.Generation() && verdict.Kind != blocklists.Allow {
		verdict, trim = r.judge(dst[base:], q, hit)
	}
	switch {
	case verdict.Kind == blocklists.Block && verdict.Links > 0:
		return r.blockChain(dst, base, q, verdict, o)
	case verdict.Kind == blocklists.Block || verdict.Wait:
		return r.block(dst[:base], q, verdict, o)
	}
	if response.IsPartial(dst[base:]) {
		// All were banned from the rest when it was asked for. This client is not any more.
		o.Kind = Pending
		return dst[:base], o
	}
	if trim {
		dst = append(dst[:base], response.Trim(dst[base:])...)
	}
	if verdict.Kind != blocklists.Pass {
		o = r.note(q, verdict, o)
	}
	if q.state.policy.StripECH(q.group) {
		var err error
		if dst, err = withoutECH(dst, base); err != nil {
			return r.fail(dst[:base], q, wire.EDENetwork, false, o)
		}
	}
	dst, o.Rcode = relay(dst, base, q, hit)
	return dst, o
}

// judge is the verdict on q with this message for its response, which is not
// known to be clean: that on the question, or that on the message where the
// question's leaves it open. With trim the records outside of the answer
// section are to be removed.
//
// A verdict with Wait holds once it is returned: no policy zone that comes
// earlier in order decided on the message.
func (r *Resolver) judge(msg []byte, q *Query, hit cache.Hit) (v blocklists.Verdict, trim bool) {
	v = q.verdict
	got, trim := r.examine(msg, q, hit)
	if got.Kind == blocklists.Block || v.Wait || v.Kind == blocklists.Pass {
		v, q.inAnswer = got, true
	}
	return v, trim
}

// note adds to o what a verdict that lets the query through says: that a ban
// in monitor mode names it, or that an exception frees it from a ban.
func (r *Resolver) note(q *Query, verdict blocklists.Verdict, o Outcome) Outcome {
	p := q.state.policy
	switch {
	case verdict.Kind == blocklists.WouldBlock:
		q.verdict = verdict
		o.Ban, o.Action, o.Monitored = p.BanSlot(verdict.Ban), verdict.Action, true
		if p.Ban(verdict.Ban).Bypass {
			o.Marks |= r.bypass(q)
		} else {
			o.Marks |= WouldBlock
		}
	case verdict.Kind == blocklists.Allow && verdict.Overruled:
		q.verdict = verdict
		o.Overruled = 1 + uint8(p.BanSlot(verdict.Ban))
		o.Marks |= Excepted
	}
	return o
}

// relay makes the message in dst, from base on, the response to q: id, flags
// and letter case are those of the client, and the options say what the cache
// and the upstream add. It also returns the response code.
func relay(dst []byte, base int, q *Query, hit cache.Hit) ([]byte, wire.Rcode) {
	v := &q.view
	m := dst[base:]
	wire.SetID(m, v.ID)
	flags := wire.Flags(m)&(0xF|wire.FlagAD) | wire.FlagQR | wire.FlagRA
	if hit.Truncated {
		flags |= wire.FlagTC
	}
	if !v.DO && !v.AD {
		flags &^= wire.FlagAD // RFC 6840 section 5.8
	}
	if v.RD {
		flags |= wire.FlagRD
	}
	if v.CD {
		flags |= wire.FlagCD
	}
	wire.SetFlags(m, flags)
	copy(m[wire.HeaderLen:], v.RawName(q.Msg)) // in the client's letters (RFC 4343)
	var tmp [16]byte
	option := tmp[:0]
	if hit.Freshness == cache.Expired {
		stale := staleOption
		if wire.HeaderRcode(m) == wire.NXDomain {
			stale = staleDenialOption
		}
		option = append(option, stale...)
	}
	if hit.EDE >= 0 {
		option = wire.AppendEDE(option, uint16(hit.EDE), "") // the upstream's (RFC 8914 section 3)
	}
	return q.seal(dst, base, wire.NoError, option, option[:min(len(option), 6)])
}

// examine applies policy to a message that is not known to be clean under the
// present generation. A message that passes for everyone is marked clean in the
// cache, so that it is examined once for each generation.
func (r *Resolver) examine(msg []byte, q *Query, hit cache.Hit) (v blocklists.Verdict, trim bool) {
	var scratch wire.Name
	p := q.state.policy
	ask := q.ask()
	ask.Group = p.Everyone()
	v, trim = p.Response(msg, &ask, blocklists.Verdict{}, &scratch)
	clean := v.Kind == blocklists.Pass && !trim
	suspect := r.exchanges.Unclean(ask.Name, ask.Type)
	switch {
	case clean && !suspect:
		r.cache.MarkClean(q.key(), hit, p.Generation())
		if !q.verdict.Wait {
			return v, false
		}
	case v.Kind != blocklists.Pass && !suspect && !v.ByZone():
		r.exchanges.MarkUnclean(ask.Name, ask.Type)
	}
	ask.Group = q.group
	v, trim = p.Response(msg, &ask, q.verdict, &scratch)
	if suspect && v.Kind != blocklists.Block {
		if w, found := r.exchanges.ByRelatedTypes(p, q.ask(), r.steady.At(q.Received)); found {
			return w, false
		}
	}
	return v, trim
}

// withoutECH removes the keys for encrypted Client Hello from the message in
// dst, from base on.
func withoutECH(dst []byte, base int) ([]byte, error) {
	var scratch wire.Name
	out, changed, err := svcb.AppendWithoutECH(dst, dst[base:], &scratch)
	if !changed || err != nil {
		return dst, err
	}
	return append(out[:base], out[len(dst):]...), nil
}

// stale answers with an expired entry of the cache (RFC 8767); ok is false if
// there is none.
func (r *Resolver) stale(dst []byte, q *Query, o Outcome) ([]byte, Outcome, bool) {
	base := len(dst)
	out, hit := r.cache.GetStale(dst, q.key(), r.steady.At(q.Received))
	if hit.Freshness == cache.Miss {
		return dst, o, false
	}
	o.Kind = Cached // another pending query may have renewed it
	if hit.Freshness == cache.Expired {
		o.Kind = Stale
	}
	out, o = r.finish(out, base, q, hit, o)
	return out, o, true
}

// fail answers SERVFAIL. ede is the info code of the cause, or -1; with cached
// the response says that the failure comes from the cache.
func (r *Resolver) fail(dst []byte, q *Query, ede int, cached bool, o Outcome) ([]byte, Outcome) {
	if q.verdict.Wait && q.target == nil {
		return r.block(dst, q, q.verdict, o)
	}
	o.Kind = Failed
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.ServFail)
	var tmp [16]byte
	option := tmp[:0]
	if ede >= 0 {
		option = wire.AppendEDE(option, uint16(ede), "")
	}
	if cached {
		option = wire.AppendEDE(option, wire.EDECachedError, "")
	}
	dst, o.Rcode = q.seal(dst, base, wire.ServFail, option, option[:min(len(option), 6)])
	return dst, o
}
