package blocklists

import (
	"math/bits"
	"net/netip"

	"rideau/blocklists/internal/facts"
	"rideau/blocklists/internal/rule"
	"rideau/resolver/wire"
)

// Ask is a question to policy. The Name is not kept.
type Ask struct {
	Name   *wire.Name
	Type   wire.Type  // 0: no particular type
	Client netip.Addr // invalid: no particular client
	TCP    bool       // the query came over a stream
	Group  GroupID
	// Final leaves policy zones out, and bans on all names but those on their lists: the answer is already what a ban says.
	Final bool
}

// Question returns the verdict on a question. It does not allocate.
//
// Exceptions and bans come first, then policy zones, so that a zone that allows
// a name does not lift a ban.
func (s *Snapshot) Question(q *Ask) Verdict {
	sc := &s.scopes[q.Group]
	f, rules := s.lookUp(q.Name, sc)
	unknown := sc.unknown != [2]uint8{noBan, noBan} && facts.Unexamined(q.Type)
	if f.kind == Pass && !rules && !sc.clientZones && !unknown && len(sc.allBut) == 0 && !(s.hasAddrs && facts.MayBeReverse(q.Name)) {
		return Verdict{}
	}
	v := s.verdict(sc, f)
	if f.kind != Block || rules {
		v = s.unlisted(s.complete(v, rules, q, sc), q, sc)
		if v.Kind == Allow && !v.Overruled {
			if w := s.zoned(s.unlisted(Verdict{}, q, sc), q, sc); w.Kind == Block || w.Kind == WouldBlock {
				v.Ban, v.Overruled = w.Ban, true
			}
		}
		v = s.zoned(v, q, sc)
	}
	if unknown {
		v = s.typed(v, sc)
	}
	if v.Kind == Block && v.Action > NoData && IsCanary(q.Name) {
		v.Action = NXDomain
	}
	return v
}

// IsCanary is [facts.IsCanary].
func IsCanary(name *wire.Name) bool { return facts.IsCanary(name) }

// typed is the verdict on a question, v, changed by bans that block unknown types. What is decided before an answer stays.
func (s *Snapshot) typed(v Verdict, sc *scope) Verdict {
	for m, kind := range [...]Kind{Enforce: Block, Monitor: WouldBlock} {
		ban := sc.unknown[m]
		if ban == noBan || v.Kind == Allow || v.Kind == Block && !v.Wait || v.Kind == WouldBlock && kind == WouldBlock {
			continue
		}
		b := &s.bans[ban]
		v = Verdict{Kind: kind, Ban: ban, List: uint8(s.listIndex(b.Uses()[0])), Action: b.listed, ByType: true}
		if v.Action == NXDomain || v.Action == LocalData {
			v.Action = NoData
		}
	}
	return v
}

// listed is the verdict of bans and exceptions on a name.
func (s *Snapshot) listed(q *Ask, sc *scope) Verdict {
	f, rules := s.lookUp(q.Name, sc)
	if f.kind == Pass && !rules && !(s.hasAddrs && facts.MayBeReverse(q.Name)) {
		return Verdict{}
	}
	return s.complete(s.verdict(sc, f), rules, q, sc)
}

// lookUp walks the names above q's name and the name itself. It returns what lists that name them decide, and whether
// one of the names has rules, which may decide otherwise.
func (s *Snapshot) lookUp(name *wire.Name, sc *scope) (f finding, rules bool) {
	labels := name.Labels()
	for m := s.trie.Match(name); ; {
		k, i, ok := m.Next()
		if !ok {
			return f, rules
		}
		n := &s.values[i]
		set := &n.Below
		if k == labels {
			set = &n.Self
		}
		rules = rules || n.Rules != 0
		f = sc.decide(f, set, k)
	}
}

// complete returns the verdict of bans and exceptions, where v is what lookUp found: it adds rules, the
// addresses of reverse names, and the ban that an exception overrules. What a banned address is called is banned like the address.
func (s *Snapshot) complete(v Verdict, rules bool, q *Ask, sc *scope) Verdict {
	if rules {
		v = s.ruled(q, sc, true, nil, nil)
	}
	if v.Kind != Allow && v.Kind != Block && s.hasAddrs {
		if a, ok := facts.Reverse(q.Name); ok {
			if w := s.anyAddr(nil, a, sc); w.Kind == Allow || w.Kind == Block || v.Kind == Pass {
				v = w
			}
		}
	}
	if v.Kind == Allow {
		if w := s.ruled(q, sc, false, nil, nil); w.Kind == Block || w.Kind == WouldBlock {
			v.Ban, v.Overruled = w.Ban, true
		}
	}
	return v
}

// Name returns the verdict on a name for no particular query type and client.
// It does not allocate.
func (s *Snapshot) Name(name *wire.Name, g GroupID) Verdict {
	return s.Question(&Ask{Name: name, Group: g})
}

// Addr returns the verdict on an address in a response, and on the IPv4 addresses in it. It does not allocate.
func (s *Snapshot) Addr(a netip.Addr, g GroupID) Verdict {
	return s.anyAddr(nil, a, &s.scopes[g])
}

func (s *Snapshot) addr(a netip.Addr, sc *scope, without *rule.Set) Verdict {
	i := s.addrs.Lookup(a)
	if i == 0 {
		return Verdict{}
	}
	set := s.values[i].Self
	for w := range set {
		if without != nil {
			set[w] &^= without[w]
		}
	}
	v := s.verdict(sc, sc.decide(finding{}, &set, 0))
	if v.Kind == Allow {
		for w := range set {
			set[w] &^= sc.allow[w]
		}
		if f := sc.decide(finding{}, &set, 0); f.kind != Pass {
			v.Ban, v.Overruled = f.ban, true
		}
	}
	return v
}

// finding is what the lists of a name and of the names above it decide so far. It is small, and of few
// fields, so that it stays in registers during the walk.
type finding struct {
	kind              Kind
	ban, list, labels uint8
}

// decide is the rule of precedence at one node: sets are the lists that name
// the node, v is the finding of the less specific nodes before it.
func (sc *scope) decide(v finding, sets *rule.Set, labels int) finding {
	switch {
	case v.kind == Allow:
		return v
	case sets.Intersects(&sc.allow):
		list, _ := first(sets, &sc.allow, nil)
		return finding{kind: Allow, list: list, labels: uint8(labels)}
	case sets.Intersects(&sc.enforce):
		list, ban := first(sets, &sc.enforce, &sc.enforceBan)
		return finding{Block, ban, list, uint8(labels)}
	case v.kind != Block && sets.Intersects(&sc.monitor):
		list, ban := first(sets, &sc.monitor, &sc.monitorBan)
		return finding{WouldBlock, ban, list, uint8(labels)}
	}
	return v
}

// verdict is the verdict of a finding.
func (s *Snapshot) verdict(sc *scope, f finding) Verdict {
	v := Verdict{Kind: f.kind, Ban: f.ban, List: f.list, Labels: f.labels}
	switch f.kind {
	case Allow:
		v.Exception = sc.exception[f.list]
	case Block, WouldBlock:
		b := &s.bans[f.ban]
		v.Action, v.data = sc.answer(b, b.listed), b.data
	}
	return v
}

// answer is a ban's action for a group.
func (sc *scope) answer(b *compiledBan, a Action) Action {
	if b.Page && !sc.page {
		return NXDomain
	}
	return a
}

// first returns, of the lists in both sets, the one whose ban comes first. Without
// bans it is the first list.
func first(a, b *rule.Set, bans *[MaxLists]uint8) (list, ban uint8) {
	ban = noBan
	found := false
	for w := range a {
		for m := a[w] & b[w]; m != 0; m &= m - 1 {
			i := w*64 + bits.TrailingZeros64(m)
			if bans == nil {
				return uint8(i), noBan
			}
			if !found || bans[i] < ban {
				list, ban, found = uint8(i), bans[i], true
			}
		}
	}
	return list, ban
}
