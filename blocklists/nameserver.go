package blocklists

import (
	"net/netip"

	"rideau/blocklists/entry"
	"rideau/blocklists/internal/facts"
	"rideau/resolver/wire"
)

// chooseByServers lets policy zones decide by the name servers of a name, as far as the response tells
// them. Of one zone's rules the one for the smallest server name counts, in canonical order, or
// the one for the smallest address: an upstream rotates its records.
func (s *Snapshot) chooseByServers(ch *choice, msg []byte, q *Ask, name *wire.Name) {
	if !s.scopes[q.Group].serverZones {
		return
	}
	var byName, byAddr candidates
	var last, server wire.Name
	known := 0
	for ; known < maxOrdered && facts.NextNameServer(msg, name, &last, &server); known++ {
		s.matchServer(&byName, &server)
		last = server
	}
	w := wire.NewWalk(msg)
	var r wire.Record
	for known == maxOrdered && w.Next(&r) && r.Section != wire.Additional {
		if facts.NameServer(msg, &r, name, &server) && server.Compare(&last) > 0 {
			s.matchServer(&byName, &server)
		}
	}
	s.choose(ch, &byName, q)
	var tmp [wire.MaxAdditional]netip.Addr
	s.matchAddresses(&byAddr, facts.AppendGlue(tmp[:0], msg, name), entry.OnNSIP, &s.scopes[q.Group])
	s.choose(ch, &byAddr, q)
}

// maxOrdered is how many name servers of a response are compared in canonical order, each
// at the cost of one walk through the response. Further ones are compared in the order of their records.
const maxOrdered = 32

// matchServer adds what zones say about a name server to c, where c has nothing yet.
func (s *Snapshot) matchServer(c *candidates, server *wire.Name) {
	var found candidates
	s.matchName(&found, server, entry.OnNSDName)
	for i, r := range found {
		if c[i] == nil {
			c[i] = r
		}
	}
}
