package blocklists

import (
	"net/netip"

	"rideau/blocklists/entry"
	"rideau/blocklists/internal/rule"
	"rideau/resolver/wire"
)

// zone is a list that is a policy zone, and the ban that uses it.
type zone struct {
	list, ban uint8
	monitor   bool
}

// candidates are, by list, the rule of the policy zone that matches; nil if none does.
type candidates [MaxLists]*rule.Rule

// matchName adds the rules of policy zones that match a name, which is compared with triggers of
// one kind. In each zone that is the rule of the name itself, or else the
// wildcard at its closest encloser, the longest name above it that is in the
// zone, if there is a wildcard (RFC 4592 section 3.3.1).
func (s *Snapshot) matchName(c *candidates, name *wire.Name, t entry.Trigger) {
	labels := name.Labels()
	for m := s.trie.Match(name); ; {
		k, v, ok := m.Next()
		if !ok {
			return
		}
		rules := s.rules[s.values[v].Rules]
		for i := range rules {
			if r := &rules[i]; r.Trigger == t && r.OfZone() {
				c[r.List] = nil // this name is in the zone: no rule above it matches
			}
		}
		for i := range rules {
			if r := &rules[i]; r.Trigger == t && r.OfZone() && r.Kind != rule.Empty && r.About(k, labels) && c[r.List] == nil {
				c[r.List] = r
			}
		}
	}
}

// matchAddress adds the rules of policy zones that match an address. In each zone that is the one with the longest prefix.
func (s *Snapshot) matchAddress(c *candidates, a netip.Addr, t entry.Trigger) {
	table := s.addrs
	if t == entry.OnClient {
		table = s.clientRules
	}
	rules := s.rules[s.values[table.Lookup(a)].Rules]
	for i := range rules {
		r := &rules[i]
		if r.Trigger == t && r.OfZone() && (c[r.List] == nil || r.Bits > c[r.List].Bits) {
			c[r.List] = r
		}
	}
}

// choice is what policy zones have decided so far. Its verdict is Block, or Pass
// if a zone allows the name or address.
type choice struct {
	found bool
	zone  int // the number of the zone in its scope
	v     Verdict
	// would is the first verdict of a zone whose ban is in monitor mode.
	would Verdict
}

// choose lets the candidates of a trigger decide. Of two zones the first in their order
// decides, and of one zone's triggers the one whose candidates are given first.
func (s *Snapshot) choose(ch *choice, c *candidates, q *Ask) {
	sc := &s.scopes[q.Group]
	for i := range sc.zones {
		z := &sc.zones[i]
		r := c[z.list]
		switch {
		case ch.found && i >= ch.zone:
			return
		case r == nil || s.spares(z.list, q.Name):
		case z.monitor:
			if v := s.zoneVerdict(z, r, q); ch.would.Kind == Pass && v.Kind == Block {
				v.Kind, v.zone = WouldBlock, 0
				ch.would = v
			}
		default:
			ch.found, ch.zone, ch.v = true, i, s.zoneVerdict(z, r, q)
			ch.v.zone = uint16(i + 1)
			return
		}
	}
}

// zoneVerdict is the verdict of a zone's rule under its ban.
func (s *Snapshot) zoneVerdict(z *zone, r *rule.Rule, q *Ask) Verdict {
	ban := &s.bans[z.ban]
	v := Verdict{Kind: Block, Ban: z.ban, List: z.list, Trigger: r.Trigger, Action: s.scopes[q.Group].answer(ban, ban.Action), data: ban.data}
	if ban.Action == Given {
		v.Action, v.data = given(r.Action), r.Data
	}
	if (v.Action == Passthru || v.Action == TCPOnly && q.TCP) && q.Group != s.Everyone() {
		v.Kind = Pass
	}
	return v
}

// given is the action that an entry of a policy zone asks for.
func given(a entry.Action) Action {
	switch a {
	case entry.NoData:
		return NoData
	case entry.Passthru:
		return Passthru
	case entry.Drop:
		return Drop
	case entry.TCPOnly:
		return TCPOnly
	case entry.Local:
		return LocalData
	}
	return NXDomain
}

// zoned returns the verdict of bans on a question, v, changed by what policy zones say about it.
func (s *Snapshot) zoned(v Verdict, q *Ask, sc *scope) Verdict {
	if len(sc.zones) == 0 || q.Final || v.Kind == Allow || v.Kind == Block {
		return v
	}
	var ch choice
	if sc.clientZones && q.Client.IsValid() {
		var c candidates
		s.matchAddress(&c, q.Client, entry.OnClient)
		s.choose(&ch, &c, q)
	}
	if !ch.found || ch.zone > 0 {
		var c candidates
		s.matchName(&c, q.Name, entry.OnAnswer)
		s.choose(&ch, &c, q)
	}
	v = ch.settle(v)
	v.Wait = v.Kind == Block && ch.zone > sc.waits
	return v
}

// settle returns the verdict of bans, v, changed by the choice.
func (ch *choice) settle(v Verdict) Verdict {
	if v.Kind == Pass {
		v = ch.would
	}
	switch {
	case !ch.found:
		return v
	case ch.v.Kind == Block:
		return ch.v
	}
	v.zone, v.through = ch.v.zone, true // zones further down do not count
	return v
}

// spares reports whether a list must not keep a name from being resolved,
// because the name is protected from it. The list has no entry about such a name; this holds for what the name leads to, too.
func (s *Snapshot) spares(list uint8, name *wire.Name) bool {
	p := s.policy.Lists[list].Guards.Protected
	return p != nil && p.Contains(name)
}
