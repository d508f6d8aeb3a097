package blocklists

import (
	"net/netip"

	"rideau/blocklists/entry"
	"rideau/resolver/wire"
)

// atServers looks at the name servers of a name, as far as the response tells
// of them. Of rules of one zone that for the smallest server name counts, in canonical order, or
// that for the smallest of its addresses: upstream turns its records round.
func (s *Snapshot) atServers(ch *choice, msg []byte, q *Ask, name *wire.Name) {
	if !s.scopes[q.Group].serverZones {
		return
	}
	var byName, byAddr candidates
	var last, server wire.Name
	known := 0
	for ; known < maxOrdered && nextServer(msg, name, &last, &server); known++ {
		s.serverName(&byName, &server)
		last = server
	}
	w := wire.NewWalk(msg)
	var r wire.Record
	for known == maxOrdered && w.Next(&r) && r.Section != wire.Additional {
		if serverIn(msg, &r, name, &server) && server.Compare(&last) > 0 {
			s.serverName(&byName, &server)
		}
	}
	s.take(ch, &byName, q)
	var tmp [wire.MaxAdditional]netip.Addr
	s.addresses(&byAddr, glue(tmp[:0], msg, name), entry.OnNSIP, &s.scopes[q.Group])
	s.take(ch, &byAddr, q)
}

// maxOrdered is how many servers of a response are taken in their order, each
// at the cost of reading the response; what else there is comes as it stands.
const maxOrdered = 32

// serverName adds what zones say about a name server.
func (s *Snapshot) serverName(to *candidates, server *wire.Name) {
	var c candidates
	s.names(&c, server, entry.OnNSDName)
	to.add(&c)
}

// serverIn makes server that of an NS record, and reports whether it is one of
// a zone that name is in.
func serverIn(msg []byte, r *wire.Record, name, server *wire.Name) bool {
	if r.Type != wire.TypeNS || r.Section == wire.Additional {
		return false
	}
	if _, err := server.Parse(msg, r.Off); err != nil || !name.IsSubdomain(server.Bytes()) {
		return false
	}
	_, err := server.Parse(msg, r.DataOff)
	return err == nil
}

// nextServer makes next the smallest name of a server of name's above last,
// of which the zero Name is below all, and reports whether there is one.
func nextServer(msg []byte, name, last, next *wire.Name) (found bool) {
	var server wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section != wire.Additional {
		if serverIn(msg, &r, name, &server) && (last.Len() == 0 || server.Compare(last) > 0) && (!found || server.Compare(next) < 0) {
			*next, found = server, true
		}
	}
	return found
}

// glue appends the addresses that a response has for servers of name's.
func glue(dst []netip.Addr, msg []byte, name *wire.Name) []netip.Addr {
	var owner wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && len(dst) < wire.MaxAdditional {
		if r.Section != wire.Additional {
			continue
		}
		a := addressIn(msg, &r)
		if _, err := owner.Parse(msg, r.Off); a.IsValid() && err == nil && serves(msg, name, &owner) {
			dst = append(dst, a)
		}
	}
	return dst
}

// serves reports whether a host is a server of name's.
func serves(msg []byte, name, host *wire.Name) bool {
	var server wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section != wire.Additional {
		if serverIn(msg, &r, name, &server) && string(server.Bytes()) == string(host.Bytes()) {
			return true
		}
	}
	return false
}
