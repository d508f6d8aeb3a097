package blocklists

import (
	"net/netip"

	"rideau/resolver/wire"
)

// BlocksAll reports whether no client may have a response: whatever its group,
// address and transport, a ban blocks the response or the question. Of q the name
// and the type count. msg and scratch are as for [Snapshot.Response].
//
// What a response leads to is asked for only if some client may have it. Where a
// policy zone has triggers on clients, zones do not count, since they may let
// single clients through. The cost grows with the number of groups, so this is
// not for the fast path.
func (s *Snapshot) BlocksAll(msg []byte, q Ask, scratch *wire.Name) bool {
	q.Client, q.Group = netip.Addr{}, s.Everyone()
	if v, _ := s.Response(msg, &q, Verdict{}, scratch); v.Kind != Block {
		return false
	}
	q.TCP = true // a zone lets through over TCP what it truncates over UDP
	for g := range s.Everyone() {
		q.Group, q.Final = g, s.scopes[g].clientZones
		asked := s.Question(&q)
		if asked.Kind == Block && !asked.Wait {
			continue
		}
		if asked.Kind == Allow {
			return false
		}
		if v, _ := s.Response(msg, &q, asked, scratch); v.Kind != Block {
			return false
		}
	}
	return true
}
