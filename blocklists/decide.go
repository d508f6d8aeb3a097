package blocklists

import (
	"math/bits"
	"net/netip"

	"rideau/blocklists/internal/rule"
	"rideau/resolver/wire"
)

// Ask is what policy is asked about a question. It borrows the name.
type Ask struct {
	Name   *wire.Name
	Type   wire.Type  // 0: of no particular type
	Client netip.Addr // invalid: of nobody in particular
	TCP    bool       // it came by a stream
	Group  GroupID
	// Final leaves policy zones out: they have said what the answer is.
	Final bool
}

// Question decides about a question. It does not allocate.
//
// Exceptions and bans come first, then policy zones, so that a zone that lets
// a name through does not lift a ban.
func (s *Snapshot) Question(q *Ask) Verdict {
	sc := &s.scopes[q.Group]
	f, rules := s.lookUp(q.Name, sc)
	if f.kind == Pass && !rules && !sc.clientZones && !(s.hasAddrs && isReverse(q.Name)) {
		return Verdict{}
	}
	v := s.verdict(sc, f)
	if f.kind != Block || rules {
		v = s.complete(v, rules, q, sc)
		if v.Kind == Allow && !v.Overruled {
			if w := s.zoned(Verdict{}, q, sc); w.Kind == Block || w.Kind == WouldBlock {
				v.Ban, v.Overruled = w.Ban, true
			}
		}
		v = s.zoned(v, q, sc)
	}
	if v.Kind == Block && v.Action > NoData && IsCanary(q.Name) {
		v.Action = NXDomain
	}
	return v
}

// listed is what bans and exceptions say about a name.
func (s *Snapshot) listed(q *Ask, sc *scope) Verdict {
	f, rules := s.lookUp(q.Name, sc)
	if f.kind == Pass && !rules && !(s.hasAddrs && isReverse(q.Name)) {
		return Verdict{}
	}
	return s.complete(s.verdict(sc, f), rules, q, sc)
}

// lookUp is what a name's lists say, and whether an entry says more than that.
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

// complete is what bans and exceptions say where v, which a name's lists
// say, may not be all.
func (s *Snapshot) complete(v Verdict, rules bool, q *Ask, sc *scope) Verdict {
	if rules {
		v = s.ruled(q, sc, true, nil, nil)
	}
	if v.Kind != Allow && v.Kind != Block && s.hasAddrs {
		if a, ok := reverse(q.Name); ok {
			if w := s.addr(a, sc, nil); w.Kind == Allow || w.Kind == Block || v.Kind == Pass {
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

// excepting adds the lists that except q's name to gone, and those that do so
// even for what is important to allGone; to others, unless nil, it adds those that
// except it for other query types.
func (s *Snapshot) excepting(q *Ask, gone, allGone, others *rule.Set) {
	labels := q.Name.Labels()
	for m := s.trie.Match(q.Name); ; {
		k, i, ok := m.Next()
		if !ok {
			return
		}
		rules := s.rules[s.values[i].Rules]
		for j := range rules {
			r := &rules[j]
			if r.Cancel || r.Kind != rule.Except && r.Kind != rule.ExceptImportant || !r.About(k, labels) || r.Cancelled(rules) {
				continue
			}
			if !s.types[r.Types].Has(q.Type) {
				if others != nil {
					others.Add(int(r.List))
				}
				continue
			}
			gone.Add(int(r.List))
			if r.Kind == rule.ExceptImportant {
				allGone.Add(int(r.List))
			}
		}
	}
}

// ruled is the rule of precedence for a name whose lists have rules: what a
// list excepts it does not have, unless it is important. allow says whether exceptions count;
// of the lists without, unless nil, nothing counts but what is important, and of
// withoutAny nothing at all.
func (s *Snapshot) ruled(q *Ask, sc *scope, allow bool, without, withoutAny *rule.Set) Verdict {
	var f finding
	var gone, allGone rule.Set
	if without != nil {
		gone, allGone = *without, *withoutAny
	}
	var p parts
	labels := q.Name.Labels()
	s.excepting(q, &gone, &allGone, &p.excepted)
	for m := s.trie.Match(q.Name); ; {
		k, i, ok := m.Next()
		if !ok {
			return p.limit(s.verdict(sc, f))
		}
		n := &s.values[i]
		set := n.Below
		if k == labels {
			set = n.Self
		}
		for w := range set {
			set[w] &^= gone[w]
			if !allow {
				set[w] &^= sc.allow[w] // no ban has these
			}
			p.whole[w] |= set[w]
		}
		rules := s.rules[n.Rules]
		for j := range rules {
			// A name alone that is taken back stays if all below it
			// is there too: then the two cannot be told apart.
			r := &rules[j]
			if r.Cancel && r.Kind == rule.Ordinary && r.Types == 0 && !r.OfZone() && (r.Covers&rule.Below != 0 || !n.Below.Has(int(r.List))) {
				set.Remove(int(r.List))
				p.whole.Remove(int(r.List))
			}
		}
		for j := range rules {
			r := &rules[j]
			switch {
			case r.Cancel || r.Kind == rule.Except || r.Kind == rule.ExceptImportant || r.OfZone():
				continue
			case !r.About(k, labels) || !s.types[r.Types].Has(q.Type) || r.Cancelled(rules):
				continue
			}
			if (r.Kind == rule.Important && !allGone.Has(int(r.List)) || !gone.Has(int(r.List))) && (allow || !sc.allow.Has(int(r.List))) {
				set.Add(int(r.List))
				p.add(r)
			}
		}
		f = sc.decide(f, &set, k)
	}
}

// parts are the lists that have a name for some query types alone.
type parts struct {
	excepted rule.Set // since they except it for others
	typed    rule.Set // by rules for some types
	whole    rule.Set // by something else
}

// add notes that a rule has the name.
func (p *parts) add(r *rule.Rule) {
	if r.Types != 0 {
		p.typed.Add(int(r.List))
	} else {
		p.whole.Add(int(r.List))
	}
}

// limit makes a verdict about some types one that leaves the others alone: that
// a name does not exist is said of all its types (RFC 2308 section 5, RFC 8020 section 2), and
// whoever remembers that asks for no other.
func (p *parts) limit(v Verdict) Verdict {
	l := int(v.List)
	if v.Kind == Block && v.Action == NXDomain && (p.excepted.Has(l) || p.typed.Has(l) && !p.whole.Has(l)) {
		v.Action = NoData
	}
	return v
}

// Name decides about a name, whatever the type and whoever asks.
// It does not allocate.
func (s *Snapshot) Name(name *wire.Name, g GroupID) Verdict {
	return s.Question(&Ask{Name: name, Group: g})
}

// Addr decides about an address in a response. It does not allocate.
func (s *Snapshot) Addr(a netip.Addr, g GroupID) Verdict {
	return s.addr(a, &s.scopes[g], nil)
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

// finding is what the lists of a name say so far. It is small, and of few
// fields, so that it stays in registers while the name is walked.
type finding struct {
	kind              Kind
	ban, list, labels uint8
}

// decide is the rule of precedence at one node: sets are the lists that name
// the node, v is the verdict of the less specific nodes before it.
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

// verdict is the verdict that a finding comes to.
func (s *Snapshot) verdict(sc *scope, f finding) Verdict {
	v := Verdict{Kind: f.kind, Ban: f.ban, List: f.list, Labels: f.labels}
	switch f.kind {
	case Allow:
		v.Exception = sc.exception[f.list]
	case Block, WouldBlock:
		b := &s.bans[f.ban]
		v.Action, v.data = b.listed, b.data
	}
	return v
}

// first is, of the lists in both sets, the one whose ban comes first.
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
