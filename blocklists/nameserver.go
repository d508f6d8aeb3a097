package blocklists

import (
	"net/netip"

	"rideau/blocklists/entry"
	"rideau/blocklists/internal/facts"
	"rideau/resolver/wire"
)

// chooseByServers lets policy zones decide by the name servers of a name, as far as the response tells
// them. Of one zone's rules the one for the smallest server name counts, in canonical order, or
// the one for the smallest address: an upstream rotates its records. budget is how many NS records may
// still be examined for this response; the first name, q's, has no such bound.
func (s *Snapshot) chooseByServers(ch *choice, msg []byte, q *Ask, name *wire.Name, budget *int) {
	if !s.scopes[q.Group].serverZones || *budget <= 0 {
		return
	}
	var byName, byAddr candidates
	var servers facts.Servers
	examined := servers.Find(msg, name)
	*budget -= examined
	if name == q.Name {
		*budget = maxServers
	}
	if examined == 0 {
		return
	}
	var server wire.Name
	for _, off := range servers.Ordered() {
		if _, err := server.Parse(msg, off); err == nil {
			s.matchServer(&byName, &server)
		}
	}
	w := wire.NewWalk(msg)
	var r wire.Record
	for servers.Others && w.Next(&r) && r.Section != wire.Additional {
		if facts.NameServer(msg, &r, name, &server) {
			s.matchServer(&byName, &server) // those in order have been matched, which changes nothing
		}
	}
	s.choose(ch, &byName, q)
	var tmp [wire.MaxAdditional]netip.Addr
	s.matchAddresses(&byAddr, facts.AppendGlue(tmp[:0], msg, name), entry.OnNSIP, &s.scopes[q.Group])
	s.choose(ch, &byAddr, q)
}

// maxServers is how many NS records of a response are examined for the names that its chain of aliases
// leads to, after all were for the first. No usual response has a tenth of them.
const maxServers = 1024

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
