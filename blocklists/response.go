package blocklists

import (
	"net/netip"

	"rideau/blocklists/internal/rule"
	"rideau/resolver/wire"
	"rideau/resolver/wire/svcb"
)

// Response decides about a response: about every owner name and every name
// or address that a record of its answer section leads to, about the name
// servers it refers to, and about what its additional section adds. The
// question's own name was decided about before there was a response, with the verdict
// asked. msg was accepted by wire.Response.Parse. It does not allocate.
//
// The first record that a ban stops decides. A ban in monitor mode decides
// only if nothing is stopped. What an exception names is passed over, and the
// rest is still examined. Then policy zones are asked, if no ban stops anything.
//
// A name does not become banned because of who serves its zone: where there
// is an answer, or the word that there is none, a banned name in the other
// sections only sets trim, and the caller leaves those out (response.Trim).
// In monitor mode such a name is nothing. The triggers of policy zones on name servers
// do stop an answer.
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

// banned is what bans and exceptions say about a response. Of what exceptions let through
// the first is told, if nothing is stopped.
func (s *Snapshot) banned(msg []byte, q *Ask, scratch *wire.Name) (v Verdict, trim bool) {
	referral := isReferral(msg)
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

// isReferral reports whether a response neither answers nor denies (RFC 2308
// section 2.2): all it says is whom to ask.
func isReferral(msg []byte) bool {
	if wire.Count(msg, wire.Answer) > 0 || wire.HeaderRcode(msg) != wire.NoError {
		return false
	}
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Section == wire.Authority && r.Type == wire.TypeSOA {
			return false
		}
	}
	return true
}

// record decides about one record.
func (s *Snapshot) record(msg []byte, r *wire.Record, q *Ask, scratch *wire.Name) Verdict {
	var would Verdict
	ask := *q
	ask.Name = scratch
	sc := &s.scopes[q.Group]
	keep := func(v Verdict) bool {
		if v.Kind == WouldBlock || v.Kind == Allow && v.Overruled && would.Kind == Pass {
			would = v
		}
		return v.Kind == Block
	}
	met := func(b []byte) (Verdict, bool) {
		a, ok := netip.AddrFromSlice(b)
		for ; ok; a, ok = embedded(a) {
			if v := s.hasAddr(q, a, sc); keep(v) {
				return v, true
			}
		}
		return would, false
	}
	// The owner: most often the question's name, by a pointer to it, which
	// was decided about already.
	if msg[r.Off] != 0xC0 || msg[r.Off+1] != wire.HeaderLen {
		if _, err := scratch.Parse(msg, r.Off); err == nil && r.Type != wire.TypeSOA {
			if v := s.leadsTo(q, &ask, sc); keep(v) {
				return v
			}
		}
	}
	switch r.Type {
	case wire.TypeA, wire.TypeAAAA:
		v, _ := met(msg[r.DataOff:r.End])
		return v
	}
	off, ok := wire.TargetOffset(msg, r)
	if !ok {
		return would
	}
	next, err := scratch.Parse(msg, off)
	if err != nil {
		return would
	}
	if v := s.leadsTo(q, &ask, sc); keep(v) {
		return v
	}
	if r.Type == wire.TypeSVCB || r.Type == wire.TypeHTTPS {
		hints := svcb.NewHints(msg, r, next)
		for b := hints.Next(); b != nil; b = hints.Next() {
			if v, ok := met(b); ok {
				return v
			}
		}
	}
	return would
}

// leadsTo is listed for a name that the answer to q leads to: lists that may
// not keep q's name from being resolved do not count, nor do those that except
// it, but for what is important to them.
func (s *Snapshot) leadsTo(q, ask *Ask, sc *scope) Verdict {
	v := s.listed(ask, sc)
	if v.Kind == Block || v.Kind == WouldBlock {
		if gone, allGone, any := s.sparing(v.List, q); any {
			return s.ruled(ask, sc, true, &gone, &allGone)
		}
	}
	return v
}

// hasAddr is the same for an address.
func (s *Snapshot) hasAddr(q *Ask, a netip.Addr, sc *scope) Verdict {
	v := s.addr(a, sc, nil)
	if v.Kind == Block || v.Kind == WouldBlock {
		if gone, _, any := s.sparing(v.List, q); any {
			return s.addr(a, sc, &gone)
		}
	}
	return v
}

// sparing is the lists that do not count for what the answer to q leads to, if
// list, which has something against it, is one of them. Of allGone nothing does, of
// gone what is important.
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

// embedded is the IPv4 address that a DNS64 has put into one of the well-known
// prefix 64:ff9b::/96 (RFC 6052 section 2.1): synthesis must not undo a ban.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return a, false
	}
	b := a.As16()
	if string(b[:12]) != "\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00" {
		return a, false
	}
	return netip.AddrFrom4([4]byte(b[12:])), true
}
