package blocklists

import (
	"net/netip"
	"slices"

	"rideau/blocklists/entry"
	"rideau/blocklists/internal/facts"
	"rideau/resolver/wire"
	"rideau/resolver/wire/response"
)

// zonedResponse returns the verdict of bans on a response, v, changed by what policy zones say about it.
// asked is the verdict on the question.
//
// A rule for a name decides before all that is further along the chain of
// aliases. Then zones count in their order, and in one zone names before
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
	name, budget := *q.Name, maxServers
	var tmp [response.UsualLinks]response.Link
	aliases := response.ReadAliases(msg, tmp[:0])
	for links := 0; ; links++ {
		next := name
		more := links < response.MaxChain && aliases.Follow(&next)
		if !ch.found || ch.zone > 0 {
			found, zone := ch.found, ch.zone
			if !more {
				s.chooseByAddresses(&ch, msg, q)
			}
			at := &name
			if links == 0 {
				at = q.Name
			}
			s.chooseByServers(&ch, msg, q, at, &budget)
			if ch.found && (!found || ch.zone != zone) {
				ch.v.Links = uint8(links)
			}
		}
		if ch.found || !more {
			break
		}
		name = next
		s.chooseByName(&ch, &name, q)
		ch.v.Links = uint8(links + 1)
	}
	if !ch.found {
		s.chooseByTargets(&ch, msg, q, scratch)
	}
	return ch.settle(v)
}

// chooseByName lets policy zones decide by a name that an answer leads to. A name that an exception
// allows is skipped.
func (s *Snapshot) chooseByName(ch *choice, name *wire.Name, q *Ask) {
	ask := *q
	ask.Name = name
	if s.listed(&ask, &s.scopes[q.Group]).Kind == Allow {
		return
	}
	var c candidates
	s.matchName(&c, name, entry.OnAnswer)
	s.choose(ch, &c, q)
}

// chooseByAddresses lets policy zones decide by the addresses in an answer.
func (s *Snapshot) chooseByAddresses(ch *choice, msg []byte, q *Ask) {
	if !s.hasAddrs {
		return
	}
	var c candidates
	var tmp [usualAddrs]netip.Addr
	addrs := tmp[:0]
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section == wire.Answer {
		addrs = s.appendAddresses(addrs, facts.Address(msg, &r), &s.scopes[q.Group])
	}
	s.matchAddresses(&c, addrs, entry.OnAnswer, &s.scopes[q.Group])
	s.choose(ch, &c, q)
}

// appendAddresses appends an address, if it is valid, and the IPv4 addresses for which it stands, unless an exception allows it.
func (s *Snapshot) appendAddresses(addrs []netip.Addr, a netip.Addr, sc *scope) []netip.Addr {
	if !a.IsValid() {
		return addrs
	}
	addrs = append(addrs, a)
	e := facts.NewEmbedded(a, s.policy.NAT64)
	for b, more := e.Next(); more && s.addr(a, sc, nil).Kind != Allow; b, more = e.Next() {
		addrs = append(addrs, b)
	}
	return addrs
}

// usualAddrs is how many addresses an answer may have without an allocation for
// them.
const usualAddrs = 64

// matchAddresses adds the rules of policy zones that match addresses. Addresses that an exception
// allows are skipped. If rules of one zone have prefixes of the same length, the one for the smallest
// address counts, so that the verdict does not depend on the upstream's order: the addresses are sorted, in place.
func (s *Snapshot) matchAddresses(c *candidates, addrs []netip.Addr, t entry.Trigger, sc *scope) {
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, a := range addrs {
		if s.addr(a, sc, nil).Kind != Allow {
			s.matchAddress(c, a, t)
		}
	}
}

// chooseByTargets lets policy zones decide by what records other than aliases lead to. Other resolvers
// do not compare these with a policy zone, but bans cover these, too. A target that a zone
// allows has no effect on the next.
func (s *Snapshot) chooseByTargets(ch *choice, msg []byte, q *Ask, scratch *wire.Name) {
	sc := &s.scopes[q.Group]
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section == wire.Answer && ch.v.Kind != Block {
		if r.Type == wire.TypeCNAME || !facts.MayLead(r.Type) {
			continue // aliases were followed before
		}
		var c candidates
		var tmp [4]netip.Addr
		l := facts.NewLeads(msg, &r)
		*ch = choice{would: ch.would}
		for a, more := l.Next(scratch); more && !ch.found; a, more = l.Next(scratch) {
			if !a.IsValid() {
				s.chooseByName(ch, scratch, q)
				continue
			}
			for _, a := range s.appendAddresses(tmp[:0], a, sc) {
				s.matchAddress(&c, a, entry.OnAnswer)
			}
		}
		s.choose(ch, &c, q)
	}
	if ch.v.Kind != Block {
		*ch = choice{would: ch.would}
	}
}
