package resolver

import (
	"slices"

	"rideau/blocklists"
	"rideau/resolver/cache"
	"rideau/resolver/limit"
	"rideau/resolver/wire"
)

// Info codes of RFC 8914 section 4.
const (
	edeStale            = 3
	edeStaleNXDomain    = 19
	edeCachedError      = 13
	edeNotReady         = 14
	edeProhibited       = 18
	edeNotAuthoritative = 20
	edeNotSupported     = 21
	edeNoReachable      = 22
	edeNetwork          = 23
	edeInvalidData      = 24
)

// Options that are always the same.
var (
	staleOption       = wire.AppendEDE(nil, edeStale, "")
	staleDenialOption = wire.AppendEDE(nil, edeStaleNXDomain, "")
	deniedOption      = wire.AppendEDE(nil, edeProhibited, "")
	notSupported      = wire.AppendEDE(nil, edeNotSupported, "")
	noRecursionOption = wire.AppendEDE(nil, edeNotAuthoritative, "recursion not asked for, and not in the cache")
	limitedOption     = wire.AppendEDE(nil, edeProhibited, "too many queries")
	shedOption        = wire.AppendEDE(nil, edeNoReachable, "too many queries are waiting")
)

// key is where the cache keeps the answer. It borrows q.
func (q *Query) key() cache.Key {
	v := &q.view
	return cache.Key{Name: &v.Name, Type: v.Type, Class: v.Class, DO: v.DO, CD: v.CD, Apex: q.zoneLabels}
}

// deny answers a client that is not served.
func (r *Resolver) deny(dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	if !r.refusals.take(q.Received.Unix()) {
		o.Kind = Dropped
		return dst, o
	}
	o.Kind = Denied
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.Refused)
	return q.seal(dst, base, wire.Refused, deniedOption, o)
}

// limited answers a client that asks too much: seldom, by UDP, and with next
// to nothing. Who is honest, and not just a forged address, asks again by TCP, or with
// the cookie that comes with the answer (RFC 7873 section 5.2.3).
func (r *Resolver) limited(dst []byte, q *Query, v limit.Verdict, o Outcome) ([]byte, Outcome) {
	o.Kind = Limited
	base := len(dst)
	switch {
	case q.Transport.Stream():
		dst = wire.Reply(dst, &q.view, q.Msg, wire.Refused)
		return q.seal(dst, base, wire.Refused, limitedOption, o)
	case v == limit.Drop:
		return dst, o
	case q.view.Cookie != wire.CookieNone && q.state.cookies != nil && !q.verified:
		dst = wire.Reply(dst, &q.view, q.Msg, wire.BadCookie)
		return q.seal(dst, base, wire.BadCookie, nil, o)
	}
	dst = wire.Reply(dst, &q.view, q.Msg, wire.NoError)
	wire.SetFlags(dst[base:], wire.Flags(dst[base:])|wire.FlagTC)
	return q.seal(dst, base, wire.NoError, nil, o)
}

// appendFault answers what cannot be read or is not understood.
func appendFault(dst []byte, q *Query, fault wire.Fault, o Outcome) ([]byte, Outcome) {
	rcode := wire.FormErr
	o.Kind = Malformed
	switch fault {
	case wire.FaultNotImp:
		rcode, o.Kind = wire.NotImp, NotImplemented
	case wire.FaultRefused:
		rcode, o.Kind = wire.Refused, Refused
	case wire.FaultBadVers:
		rcode = wire.BadVers
	case wire.FaultCookie:
		if q.state.cookies != nil {
			rcode, o.Kind = wire.NoError, Special
		}
	}
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, rcode)
	return q.seal(dst, base, rcode, nil, o)
}

// forwardable reports whether a type can be asked for: the others are of one
// hop only, or obsolete, or a transfer (RFC 6895 section 3.1).
func forwardable(t wire.Type) bool {
	switch t {
	case 0, wire.TypeOPT, wire.TypeTKEY, wire.TypeTSIG, wire.TypeIXFR, wire.TypeAXFR, wire.TypeMAILA, wire.TypeMAILB:
		return false
	}
	return true
}

// appendRefused answers a question that is not answered for anybody: a zone
// transfer, a type of one hop only, a class that is not IN. The last hides
// version.bind and its like, too.
func appendRefused(dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	o.Kind = Refused
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.Refused)
	return q.seal(dst, base, wire.Refused, notSupported, o)
}

// appendAny answers a query for ANY with an HINFO record (RFC 8482 section
// 4.2): who wants records asks for their type, and nobody gets an amplifier.
func appendAny(dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	o.Kind = Special
	base := len(dst)
	dst = wire.Reply(dst, &q.view, q.Msg, wire.NoError)
	dst = wire.AppendRecord(dst, base, wire.Answer, wire.HeaderLen, wire.TypeHINFO, 3600, hinfo)
	return q.seal(dst, base, wire.NoError, nil, o)
}

var hinfo = []byte("\x07RFC8482\x00")

// block answers by a ban. Pending means that the answer is an alias, and what
// that leads to is to be asked for.
func (r *Resolver) block(dst []byte, q *Query, verdict blocklists.Verdict, o Outcome) ([]byte, Outcome) {
	p := q.state.policy
	ban := p.Ban(verdict.Ban)
	o.Kind, o.Ban, o.Action, o.Monitored = Blocked, p.BanSlot(verdict.Ban), verdict.Action, false
	if ban.Bypass {
		r.bypass(q, verdict)
	}
	v := &q.view
	base := len(dst)
	rcode := wire.NoError
	switch verdict.Action {
	case blocklists.Drop:
		o.Kind = Dropped
		return dst, o
	case blocklists.LocalData:
		return r.local(dst, q, verdict, o)
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
		// The SOA lies at the name itself. Were it further up, a
		// resolver that trusts NXDOMAIN for all below a zone's cut
		// (RFC 8020) could learn more than is true.
		dst = wire.AppendSOA(dst, base, wire.Authority, owner, ttl)
	}
	return q.seal(dst, base, rcode, p.BanOption(verdict.Ban), o)
}

// appendChain appends the aliases that lead to what was stopped, and returns
// where the name that they lead to stands.
func (q *Query) appendChain(dst []byte, base int, verdict blocklists.Verdict) ([]byte, int) {
	if q.chain == nil {
		return dst, wire.HeaderLen
	}
	name := q.view.Name
	return wire.AppendAliases(dst, base, q.chain, &name, int(verdict.Links))
}

// blockChain is block for what the message at the end of dst, from base on,
// leads to by aliases: they are kept, as far as they lead there.
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

// cached answers from the cache if it can.
func (r *Resolver) cached(dst []byte, q *Query, o Outcome) ([]byte, Outcome) {
	v := &q.view
	base := len(dst)
	out, hit := r.cache.Get(dst, q.key(), q.Received.UnixNano())
	if hit.State != cache.Miss {
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
			r.refresh(q, hit.Failure)
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
		return q.seal(out, base, wire.Refused, noRecursionOption, o)
	}
	o.Kind = Pending
	return dst, o
}

// finish turns an upstream's message, copied to dst from base on, into the
// answer to q, after policy has looked at it. hit is what the cache says of it.
func (r *Resolver) finish(dst []byte, base int, q *Query, hit cache.Hit, o Outcome) ([]byte, Outcome) {
	p := q.state.policy
	verdict := q.verdict
	if hit.Generation != p.Generation() && verdict.Kind != blocklists.Allow {
		got, trim := r.examine(dst[base:], q, hit)
		if got.Kind == blocklists.Block && got.Links == 0 {
			return r.block(dst[:base], q, got, o)
		}
		if got.Kind == blocklists.Block {
			return r.blockChain(dst, base, q, got, o)
		}
		if trim {
			dst = append(dst[:base], wire.Trim(dst[base:])...)
		}
		if verdict.Wait || verdict.Kind == blocklists.Pass {
			verdict = got
		}
	}
	switch {
	case verdict.Wait: // no zone that stands before had anything against it
		return r.block(dst[:base], q, verdict, o)
	case verdict.Kind == blocklists.WouldBlock:
		o.Ban, o.Action, o.Monitored = p.BanSlot(verdict.Ban), verdict.Action, true
		if p.Ban(verdict.Ban).Bypass {
			r.bypass(q, verdict)
		} else {
			r.events.put(q, verdict)
		}
	case verdict.Kind == blocklists.Allow && verdict.Overruled:
		o.Overruled = 1 + uint8(p.BanSlot(verdict.Ban))
		r.events.put(q, verdict)
	}
	if p.StripECH(q.group) {
		var err error
		if dst, err = withoutECH(dst, base); err != nil {
			return r.fail(dst[:base], q, edeNetwork, false, o)
		}
	}
	v := &q.view
	m := dst[base:]
	wire.SetID(m, v.ID)
	flags := wire.Flags(m)&(0xF|wire.FlagAD) | wire.FlagQR | wire.FlagRA
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
	if hit.State == cache.Expired {
		stale := staleOption
		if wire.HeaderRcode(m) == wire.NXDomain {
			stale = staleDenialOption
		}
		option = append(option, stale...)
	}
	if hit.EDE >= 0 {
		option = wire.AppendEDE(option, uint16(hit.EDE), "") // what upstream said of it (RFC 8914 section 3)
	}
	return q.seal(dst, base, wire.NoError, option, o)
}

// bypass counts a device that tries to go round this resolver, and tells of
// it unless that was done lately.
func (r *Resolver) bypass(q *Query, v blocklists.Verdict) {
	if blocklists.IsCanary(&q.view.Name) {
		return
	}
	if r.devices == nil || r.devices.Seen(q.state.policy.GroupName(q.group), q.Client, q.Received) {
		r.events.put(q, v)
	}
}

// withoutECH takes the keys for encrypted Client Hello out of the message
// from base on.
func withoutECH(dst []byte, base int) ([]byte, error) {
	var scratch wire.Name
	out, changed, err := wire.AppendWithoutECH(dst, dst[base:], &scratch)
	if !changed || err != nil {
		return dst, err
	}
	return append(out[:base], out[len(dst):]...), nil
}

// examine asks policy about a message that was not found clean under the
// present generation. What passes for everyone is noted in the cache, so that
// it is examined once for each reload.
func (r *Resolver) examine(msg []byte, q *Query, hit cache.Hit) (v blocklists.Verdict, trim bool) {
	var scratch wire.Name
	p := q.state.policy
	ask := q.ask()
	ask.Group = p.Everyone()
	v, trim = p.Response(msg, &ask, blocklists.Verdict{}, &scratch)
	clean := v.Kind == blocklists.Pass && !trim
	suspect := hasRelatedTypes(ask.Type) && r.unclean.has(ask.Name)
	switch {
	case clean && !suspect:
		r.cache.MarkClean(q.key(), hit, p.Generation())
		if !q.verdict.Wait {
			return v, false
		}
	case v.Kind != blocklists.Pass && !suspect && !v.ByZone():
		r.markUnclean(ask.Name, ask.Type)
	}
	ask.Group = q.group
	v, trim = p.Response(msg, &ask, q.verdict, &scratch)
	if suspect && v.Kind != blocklists.Block {
		if w, found := r.byRelatedTypes(q); found {
			return w, false
		}
	}
	return v, trim
}

// stale answers with data past its time (RFC 8767), if there is any.
func (r *Resolver) stale(dst []byte, q *Query, o Outcome) ([]byte, Outcome, bool) {
	base := len(dst)
	out, hit := r.cache.GetStale(dst, q.key(), q.Received.UnixNano())
	if hit.State == cache.Miss {
		return dst, o, false
	}
	o.Kind = Cached // another query's pending query may have renewed it
	if hit.State == cache.Expired {
		o.Kind = Stale
	}
	out, o = r.finish(out, base, q, hit, o)
	return out, o, true
}

// fail answers SERVFAIL, with the info code of what went wrong, or -1, and
// says if that was found in the cache.
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
		option = wire.AppendEDE(option, edeCachedError, "")
	}
	return q.seal(dst, base, wire.ServFail, option, o)
}
