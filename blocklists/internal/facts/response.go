// Package facts finds in names and responses what policy is about: addresses,
// name servers, and what kind of response it is. Nothing here allocates, except for
// the hosts in URI and NAPTR records, and all responses were accepted by wire.Response.Parse.
package facts

import (
	"hash/maphash"
	"net/netip"

	"rideau/resolver/wire"
)

// IsReferral reports whether a response neither answers nor denies (RFC 2308
// section 2.2): it only says which name servers to ask.
func IsReferral(msg []byte) bool {
	if wire.Count(msg, wire.Answer) > 0 || wire.HeaderRcode(msg) != wire.NoError {
		return false
	}
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) {
		if r.Section == wire.Authority && r.Type == wire.TypeSOA {
			return false
		}
	}
	return true
}

// Address returns the address of an A or AAAA record. It is not valid for a record of another type.
func Address(msg []byte, r *wire.Record) netip.Addr {
	if r.Type != wire.TypeA && r.Type != wire.TypeAAAA {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(msg[r.DataOff:r.End])
	return a
}

// NameServer sets server to the target of an NS record, and reports whether the record is one of
// a zone that name is in. Otherwise server is undefined.
func NameServer(msg []byte, r *wire.Record, name, server *wire.Name) bool {
	if r.Type != wire.TypeNS || r.Section == wire.Additional {
		return false
	}
	if _, err := server.Parse(msg, r.Off); err != nil || !name.IsSubdomain(server.Bytes()) {
		return false
	}
	_, err := server.Parse(msg, r.DataOff)
	return err == nil
}

// MaxOrdered is how many name servers of a response are put in canonical order.
const MaxOrdered = 32

// Servers are the name servers of one name in a response.
type Servers struct {
	first  [MaxOrdered]int // offsets of the smallest names, in canonical order, each once
	n      int
	Others bool // there are more
}

// Find finds the name servers of name in one walk, and returns how many records it examined.
func (s *Servers) Find(msg []byte, name *wire.Name) (examined int) {
	var server, other wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && r.Section != wire.Additional {
		if r.Type != wire.TypeNS {
			continue
		}
		examined++
		if !NameServer(msg, &r, name, &server) {
			continue
		}
		at, same := 0, false
		if s.n == MaxOrdered {
			other.Parse(msg, s.first[s.n-1])
			if other.Compare(&server) < 0 {
				s.Others = true
				continue
			}
		}
		for end := s.n; at < end && !same; {
			mid := (at + end) / 2
			other.Parse(msg, s.first[mid])
			switch c := other.Compare(&server); {
			case c < 0:
				at = mid + 1
			case c > 0:
				end = mid
			default:
				same = true
			}
		}
		switch {
		case same:
			continue
		case s.n < MaxOrdered:
			s.n++
		default:
			s.Others = true
		}
		if at < MaxOrdered {
			copy(s.first[at+1:s.n], s.first[at:s.n-1])
			s.first[at] = r.DataOff
		}
	}
	return examined
}

// Ordered returns the offsets of the smallest server names, in canonical order.
func (s *Servers) Ordered() []int { return s.first[:s.n] }

// AppendGlue appends the addresses that a response has for name servers of name, up to
// wire.MaxAdditional in all. It walks through the response twice, and reads each record once.
func AppendGlue(dst []netip.Addr, msg []byte, name *wire.Name) []netip.Addr {
	var glue [wire.MaxAdditional]struct {
		hash   uint64
		owner  int
		addr   netip.Addr
		serves bool
	}
	n := 0
	seed := maphash.MakeSeed()
	var server, owner wire.Name
	w := wire.NewWalk(msg)
	var r wire.Record
	for w.Next(&r) && n < len(glue) {
		if r.Section != wire.Additional {
			continue
		}
		a := Address(msg, &r)
		if _, err := owner.Parse(msg, r.Off); a.IsValid() && err == nil {
			glue[n].hash, glue[n].owner, glue[n].addr = maphash.Bytes(seed, owner.Bytes()), r.Off, a
			n++
		}
	}
	w = wire.NewWalk(msg)
	for n > 0 && w.Next(&r) && r.Section != wire.Additional {
		if !NameServer(msg, &r, name, &server) {
			continue
		}
		h := maphash.Bytes(seed, server.Bytes())
		for i := range glue[:n] {
			if g := &glue[i]; g.hash == h && !g.serves {
				_, err := owner.Parse(msg, g.owner)
				g.serves = err == nil && string(owner.Bytes()) == string(server.Bytes())
			}
		}
	}
	for i := range glue[:n] {
		if glue[i].serves {
			dst = append(dst, glue[i].addr)
		}
	}
	return dst
}
