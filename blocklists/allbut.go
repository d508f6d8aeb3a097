package blocklists

import "rideau/resolver/wire"

// allBut is a ban on all names but those on its lists, as it is for one group.
type allBut struct {
	ban     uint8
	list    uint8 // the first of its lists, for verdicts
	monitor bool
	// lets has the lists as if they were enforced: a name that is blocked in it is on them, and the ban lets it through.
	lets *scope
}

// bindAllBut adds a ban on all names but those on its lists to a scope.
func (s *Snapshot) bindAllBut(sc *scope, ban int, m Mode) {
	x := allBut{ban: uint8(ban), list: uint8(s.listIndex(s.bans[ban].AllBut[0])), monitor: m == Monitor, lets: new(scope)}
	for _, id := range s.bans[ban].AllBut {
		l := s.listIndex(id)
		x.lets.enforce.Add(l)
		x.lets.enforceBan[l] = x.ban
	}
	sc.allBut = append(sc.allBut, x)
}

// unlisted takes v, the verdict of the other bans and of exceptions on a question, and returns the verdict with bans on all names but those on
// their lists.
//
// They look at the name that is asked for. What the answer leads to is the choice of who owns a name that is let through, and other bans
// look at it. A name above one that is let through exists: it has no data, so that a client that takes NXDOMAIN for all names below
// (RFC 8020) still asks for the other. A client that validates needs its DS and DNSKEY records (RFC 4035 section 5).
func (s *Snapshot) unlisted(v Verdict, q *Ask, sc *scope) Verdict {
	if q.Final { // the operator named what the answer leads to
		return v
	}
	for i := range sc.allBut {
		x := &sc.allBut[i]
		if v.Kind == Allow || v.Kind == Block || v.Kind == WouldBlock && x.monitor || s.listed(q, x.lets).Kind == Block {
			continue
		}
		b := &s.bans[x.ban]
		w := Verdict{Kind: Block, Ban: x.ban, List: x.list, Action: sc.answer(b, b.listed), Unlisted: true, data: b.data}
		if x.monitor {
			w.Kind = WouldBlock
		}
		if s.isAbove(q.Name) {
			if q.Type == wire.TypeDS || q.Type == wire.TypeKEY {
				continue
			}
			if w.Action == NXDomain {
				w.Action = NoData
			}
		}
		v = w
	}
	return v
}

// isAbove reports whether a name that such a ban lets through is below that name.
func (s *Snapshot) isAbove(name *wire.Name) bool {
	if s.above == nil {
		return false
	}
	for m := s.above.Match(name); ; {
		switch k, _, ok := m.Next(); {
		case !ok:
			return false
		case k == name.Labels():
			return true
		}
	}
}

// coversAllBut reports whether, for each ban of o on all names but those on its lists, sc has such a ban that lets through no more.
func (sc *scope) coversAllBut(o *scope) bool {
	for i := range o.allBut {
		found := false
		for j := range sc.allBut {
			x, less := &sc.allBut[j], true
			for w := range x.lets.enforce {
				less = less && x.lets.enforce[w]&^o.allBut[i].lets.enforce[w] == 0
			}
			found = found || less && (!x.monitor || o.allBut[i].monitor)
		}
		if !found {
			return false
		}
	}
	return true
}
