package blocklists

import (
	"net/netip"

	"rideau/blocklists/internal/facts"
	"rideau/blocklists/internal/rule"
	"rideau/resolver/wire"
	"rideau/resolver/wire/svcb"
)

// Response returns the verdict on a response: on every owner name and every name
// or address that a record of its answer section leads to, on the name
// servers it refers to, and on what its additional section adds. The
// question's own name was decided about before there was a response, with the verdict
// asked. msg was accepted by wire.Response.Parse. It does not allocate.
//
// The first record that a ban blocks decides. A ban in monitor mode decides
// only if no record is blocked. A record that an exception allows is skipped, and the
// rest is still examined. Policy zones decide if no ban blocks.
//
// A name is not banned because a banned server serves its zone: if the response
// answers or denies, a banned name in the other
// sections only sets trim, and the caller leaves those sections out (response.Trim).
// In monitor mode such a name has no effect. Triggers of policy zones on name servers
// do block an answer.
func (s *Snapshot) Response(msg []byte, q *Ask, asked Verdict, scratch *wire.Name) (v Verdict, trim bool) {
	v, trim = s.banned(msg, q, scratch)
	if v.Kind != Block {
		w := s.zonedResponse(v, msg, q, asked, scratch)
		trim = trim && w.Kind != Block
		v = w
	}
	if v.Kind == Block && v.Action > NoData && IsCanary(q.Name) {
		v.Action = NXDomain
	}
	return v, trim
}

// banned is the verdict of bans and exceptions on a response. If nothing is blocked, it is that on the first
// record that an exception allows, if there is one.
func (s *Snapshot) banned(msg []byte, q *Ask, scratch *wire.Name) (v Verdict, trim bool) {
	referral := facts.IsReferral(msg)
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		got := s.record(msg, &r, q, scratch)
		aside := r.Section != wire.Answer && !referral
		switch {
		case got.Kind == Block && aside:
			return v, true
		case got.Kind == Block:
			return got, false
		case got.Kind == WouldBlock && v.Kind != WouldBlock && !aside:
			v = got
		case got.Kind == Allow && v.Kind == Pass && !aside:
			v = got
		}
	}
	return v, false
}

// record is the verdict of bans and exceptions on one record.
func (s *Snapshot) record(msg []byte, r *wire.Record, q *Ask, scratch *wire.Name) Verdict {
	var would Verdict // of all that was seen
	ask := *q
	ask.Name = scratch
	sc := &s.scopes[q.Group]
	keep := func(v Verdict) bool {
		if v.Kind == Block || v.Kind == WouldBlock || v.Kind == Allow && v.Overruled && would.Kind == Pass {
			would = v
		}
		return v.Kind == Block
	}
	// The owner name is most often a pointer to the question's name, which
	// was decided about before.
	if msg[r.Off] != 0xC0 || msg[r.Off+1] != wire.HeaderLen {
		if _, err := scratch.Parse(msg, r.Off); err == nil && r.Type != wire.TypeSOA {
			if keep(s.leadsTo(q, &ask, sc)) {
				return would
			}
		}
	}
	if r.Type == wire.TypeA || r.Type == wire.TypeAAAA {
		if a := facts.Address(msg, r); s.suspect(a) {
			keep(s.anyAddr(q, a, sc))
		}
		return would
	}
	if off, ok := wire.TargetOffset(msg, r); ok && r.Type != wire.TypeNAPTR {
		next, err := scratch.Parse(msg, off)
		if err != nil {
			return would
		}
		if v := s.leadsTo(q, &ask, sc); v.Kind != Pass && keep(v) || r.Type != wire.TypeSVCB && r.Type != wire.TypeHTTPS {
			return would
		}
		hints := svcb.NewHints(msg, r, next)
		for b := hints.Next(); b != nil; b = hints.Next() {
			a, _ := netip.AddrFromSlice(b)
			if s.suspect(a) && keep(s.anyAddr(q, a, sc)) {
				return would
			}
		}
		return would
	}
	if facts.MayLead(r.Type) {
		keep(s.rareRecord(msg, r, q, &ask))
	}
	return would
}

// rareRecord is record for types that are rare, without the owner name.
func (s *Snapshot) rareRecord(msg []byte, r *wire.Record, q, ask *Ask) (would Verdict) {
	sc := &s.scopes[q.Group]
	l := facts.NewLeads(msg, r)
	for a, more := l.Next(ask.Name); more; a, more = l.Next(ask.Name) {
		v := s.anyAddr(q, a, sc)
		if !a.IsValid() {
			v = s.leadsTo(q, ask, sc)
		}
		if v.Kind == Block {
			return v
		}
		if v.Kind == WouldBlock || v.Kind == Allow && v.Overruled && would.Kind == Pass {
			would = v
		}
	}
	return would
}

// leadsTo is listed for a name that the answer to q leads to. Lists that q's name is
// protected from do not count, and of lists that except q's name only
// important rules.
func (s *Snapshot) leadsTo(q, ask *Ask, sc *scope) Verdict {
	v := s.listed(ask, sc)
	if v.Kind == Block || v.Kind == WouldBlock {
		if gone, allGone, any := s.sparing(v.List, q); any {
			return s.ruled(ask, sc, true, &gone, &allGone)
		}
	}
	return v
}

// suspect reports whether anyAddr may have another verdict than Pass. It is quicker.
func (s *Snapshot) suspect(a netip.Addr) bool {
	return s.hasAddrs && (s.addrs.Lookup(a) != 0 || facts.MayEmbed(a, s.policy.NAT64))
}

// anyAddr is the verdict on an address to which the answer to q leads, and on the IPv4 addresses for which it stands: see
// [facts.Embedded]. An exception for the address itself covers them. An exception for one of them covers
// that one alone, since a Teredo address names its own server. Without q, no list is spared.
func (s *Snapshot) anyAddr(q *Ask, a netip.Addr, sc *scope) Verdict {
	if !s.hasAddrs {
		return Verdict{}
	}
	v := s.leadsToAddr(q, a, sc)
	if v.Kind == Allow || v.Kind == Block {
		return v
	}
	for e := facts.NewEmbedded(a, s.policy.NAT64); ; {
		a, more := e.Next()
		if !more {
			return v
		}
		if w := s.leadsToAddr(q, a, sc); w.Kind == Block {
			return w
		} else if v.Kind == Pass || w.Kind == WouldBlock {
			v = w
		}
	}
}

// leadsToAddr is the same for an address alone.
func (s *Snapshot) leadsToAddr(q *Ask, a netip.Addr, sc *scope) Verdict {
	v := s.addr(a, sc, nil)
	if q != nil && (v.Kind == Block || v.Kind == WouldBlock) {
		if gone, _, any := s.sparing(v.List, q); any {
			return s.addr(a, sc, &gone)
		}
	}
	return v
}

// sparing returns the lists that do not count for what the answer to q leads to: of those in allGone nothing counts, of those in
// gone only important rules. any reports whether list is one of them.
func (s *Snapshot) sparing(list uint8, q *Ask) (gone, allGone rule.Set, any bool) {
	s.excepting(q, &gone, &allGone, nil)
	if s.spares(list, q.Name) {
		for w := range gone {
			gone[w] |= s.guarded[w]
			allGone[w] |= s.guarded[w]
		}
	}
	return gone, allGone, gone.Has(int(list))
}
