package blocklists

import (
	"net/netip"
	"slices"

	"rideau/blocklists/entry"
	"rideau/blocklists/internal/rule"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
	"rideau/resolver/wire/svcb"
)

// zone is a list that is a policy zone, and the ban that has it.
type zone struct {
	list, ban uint8
	monitor   bool
}

// candidates are, for each list, the rule that decides if its zone does.
type candidates [MaxLists]*rule.Rule

// names fills in what zones say about a name that is compared with triggers of
// one kind. What covers a name is for each zone by itself: the name's own rule, or else the
// wildcard at its closest encloser, the longest name above it that the zone
// has, if there is one (RFC 4592 section 3.3.1).
func (s *Snapshot) names(c *candidates, name *wire.Name, t entry.Trigger) {
	labels := name.Labels()
	for m := s.trie.Match(name); ; {
		k, v, ok := m.Next()
		if !ok {
			return
		}
		rules := s.rules[s.values[v].Rules]
		for i := range rules {
			if r := &rules[i]; r.Trigger == t && r.OfZone() {
				c[r.List] = nil // this name is in the zone: nothing above it covers
			}
		}
		for i := range rules {
			if r := &rules[i]; r.Trigger == t && r.OfZone() && r.Kind != rule.Empty && r.About(k, labels) && c[r.List] == nil {
				c[r.List] = r
			}
		}
	}
}

// address fills in what zones say about an address: the longest prefix
// counts.
func (s *Snapshot) address(c *candidates, a netip.Addr, t entry.Trigger) {
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

// choice is what policy zones have come to. It is a verdict of a ban's kind:
// what is let through is Pass.
type choice struct {
	found bool
	zone  int // the number of the zone in its scope
	v     Verdict
	// would is the first that would have decided, of a ban in monitor mode.
	would Verdict
}

// take adds the candidates of a trigger. Of two zones the one that stands
// first decides, and of one zone's triggers that which is taken first.
func (s *Snapshot) take(ch *choice, c *candidates, q *Ask) {
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

// zoneVerdict is what a zone's rule comes to under its ban.
func (s *Snapshot) zoneVerdict(z *zone, r *rule.Rule, q *Ask) Verdict {
	ban := &s.bans[z.ban]
	v := Verdict{Kind: Block, Ban: z.ban, List: z.list, Trigger: r.Trigger, Action: ban.Action, data: ban.data}
	if ban.Action == Given {
		v.Action, v.data = given(r.Action), r.Data
	}
	if (v.Action == Passthru || v.Action == TCPOnly && q.TCP) && q.Group != s.Everyone() {
		v.Kind = Pass
	}
	return v
}

// given is how an entry of a policy zone says to answer.
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

// zoned adds what policy zones say about a question to what bans said, v.
func (s *Snapshot) zoned(v Verdict, q *Ask, sc *scope) Verdict {
	if len(sc.zones) == 0 || q.Final || v.Kind == Allow || v.Kind == Block {
		return v
	}
	var ch choice
	if sc.clientZones && q.Client.IsValid() {
		var c candidates
		s.address(&c, q.Client, entry.OnClient)
		s.take(&ch, &c, q)
	}
	if !ch.found || ch.zone > 0 {
		var c candidates
		s.names(&c, q.Name, entry.OnAnswer)
		s.take(&ch, &c, q)
	}
	v = ch.settle(v)
	v.Wait = v.Kind == Block && ch.zone > sc.waits
	return v
}

// settle is the verdict of bans, v, with the choice.
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
	v.zone, v.through = ch.v.zone, true // nothing that stands further down counts
	return v
}

// maxChain is how many aliases are followed in a response.
const maxChain = 32

// zonedResponse adds what policy zones say about a response to what bans said,
// v. asked is what they said about the question.
//
// A rule for a name decides over all that is further along the chain of
// aliases; then zones count in their order, and in one zone names before
// addresses before name servers (draft-vixie-dnsop-dns-rpz-00 section 5).
func (s *Snapshot) zonedResponse(v Verdict, msg []byte, q *Ask, asked Verdict, scratch *wire.Name) Verdict {
	sc := &s.scopes[q.Group]
	if len(sc.zones) == 0 || q.Final {
		return v
	}
	var ch choice
	if asked.zone != 0 {
		ch = choice{found: true, zone: int(asked.zone) - 1, v: asked}
		ch.v.Wait = false
		if asked.through {
			ch.v.Kind = Pass
		}
	}
	name := *q.Name
	for links := 0; ; links++ {
		next := name
		more := links < maxChain && response.Alias(msg, &next)
		if !ch.found || ch.zone > 0 {
			found, zone := ch.found, ch.zone
			if !more {
				s.atAddresses(&ch, msg, q)
			}
			s.atServers(&ch, msg, q, &name)
			if ch.found && (!found || ch.zone != zone) {
				ch.v.Links = uint8(links)
			}
		}
		if ch.found || !more {
			break
		}
		name = next
		s.atName(&ch, &name, q)
		ch.v.Links = uint8(links + 1)
	}
	if !ch.found {
		s.atTargets(&ch, msg, q, scratch)
	}
	return ch.settle(v)
}

// atName looks at a name that an answer leads to. One that an exception lets
// through is passed over.
func (s *Snapshot) atName(ch *choice, name *wire.Name, q *Ask) {
	ask := *q
	ask.Name = name
	if s.listed(&ask, &s.scopes[q.Group]).Kind == Allow {
		return
	}
	var c candidates
	s.names(&c, name, entry.OnAnswer)
	s.take(ch, &c, q)
}

// atAddresses looks at the addresses in an answer.
func (s *Snapshot) atAddresses(ch *choice, msg []byte, q *Ask) {
	if !s.hasAddrs {
		return
	}
	var c candidates
	var tmp [usualAddrs]netip.Addr
	addrs := tmp[:0]
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section == wire.Answer {
		if a := addressIn(msg, &r); a.IsValid() {
			addrs = append(addrs, a)
		}
	}
	s.addresses(&c, addrs, entry.OnAnswer, &s.scopes[q.Group])
	s.take(ch, &c, q)
}

// usualAddrs is how many addresses an answer may have for them to be looked at
// without allocating.
const usualAddrs = 64

// addressIn is the address of an A or AAAA record; not valid if it is another.
func addressIn(msg []byte, r *wire.Record) netip.Addr {
	if r.Type != wire.TypeA && r.Type != wire.TypeAAAA {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(msg[r.DataOff:r.End])
	return a
}

// add takes the candidates of zones that have none yet.
func (c *candidates) add(o *candidates) {
	for i, r := range o {
		if c[i] == nil {
			c[i] = r
		}
	}
}

// addresses adds what zones say about addresses, unless an exception lets
// them through. Of rules of one zone for equally long prefixes, that for the smallest
// address counts, whatever order upstream has today: so they are put in order.
func (s *Snapshot) addresses(c *candidates, addrs []netip.Addr, t entry.Trigger, sc *scope) {
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, a := range addrs {
		if s.addr(a, sc, nil).Kind != Allow {
			s.address(c, a, t)
		}
	}
}

// atTargets looks at what records other than aliases lead to: other resolvers
// do not compare these with a policy zone, but a ban is a ban. A target that is let
// through says nothing about the next.
func (s *Snapshot) atTargets(ch *choice, msg []byte, q *Ask, scratch *wire.Name) {
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section == wire.Answer && ch.v.Kind != Block {
		off, ok := wire.TargetOffset(msg, &r)
		if !ok || r.Type == wire.TypeCNAME {
			continue
		}
		next, err := scratch.Parse(msg, off)
		if err != nil {
			continue
		}
		*ch = choice{would: ch.would}
		s.atName(ch, scratch, q)
		if ch.found || r.Type != wire.TypeSVCB && r.Type != wire.TypeHTTPS {
			continue
		}
		var hint candidates
		hints := svcb.NewHints(msg, &r, next)
		for b := hints.Next(); b != nil; b = hints.Next() {
			if a, ok := netip.AddrFromSlice(b); ok {
				s.address(&hint, a, entry.OnAnswer)
			}
		}
		s.take(ch, &hint, q)
	}
	if ch.v.Kind != Block {
		*ch = choice{would: ch.would}
	}
}

// spares reports whether a list may not keep a name from being resolved: not
// by an entry of its own, which it is read without, and not by what the name leads to either.
func (s *Snapshot) spares(list uint8, name *wire.Name) bool {
	p := s.policy.Lists[list].Guards.Protected
	return p != nil && p.Contains(name)
}
