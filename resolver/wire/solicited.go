package wire

import "hash/maphash"

// MaxAdditional is the number of additional records that are kept.
const MaxAdditional = 64

// solicited returns which additional records belong to the response (RFC 2181
// section 5.4.1): bit i is for the record number i, OPT records not counted. It
// belongs if its owner is the question's name, an owner of the answer section,
// or a name that a record before it points to, unless a record before it does
// not belong. Any other record may be a forgery. from stands before the first
// additional record; all records before that were checked. It overwrites name.
//
// Each record is visited once or twice, however many additional records there
// are: the owners to look for are in a table.
func solicited(msg []byte, from Walk, name *Name) uint64 {
	s := sought{seed: maphash.MakeSeed()}
	var r Record
	for w := from; s.records < MaxAdditional && w.Next(&r); {
		if r.Type != TypeOPT && !s.add(msg, r.Off, name) {
			break
		}
	}
	s.find(msg, HeaderLen, name)
	belong := uint64(0)
	w := NewWalk(msg)
	for i := 0; w.Next(&r); {
		switch {
		case r.Section != Additional && s.nFound == s.names:
			return 1<<s.records - 1
		case r.Section == Answer:
			s.find(msg, r.Off, name)
		case r.Section == Additional && r.Type != TypeOPT:
			if i == s.records || !s.found[s.owner[i]] {
				return belong
			}
			belong |= 1 << i
			i++
		}
		if off, ok := TargetOffset(msg, &r); ok {
			s.find(msg, off, name)
		}
	}
	return belong
}

// sought are the owner names of additional records.
type sought struct {
	seed    maphash.Seed // so that nobody can make names that share a place in the table
	records int
	owner   [MaxAdditional]uint8 // by record: the number of its owner name
	names   int
	offset  [MaxAdditional]int // by number of the name
	hash    [MaxAdditional]uint64
	found   [MaxAdditional]bool
	nFound  int
	table   [2 * MaxAdditional]uint8 // by hash: the number of the name plus one, 0 is none
}

// add adds the name at off as the owner of the next record. It reports false if
// the name cannot be read.
func (s *sought) add(msg []byte, off int, name *Name) bool {
	if _, err := name.Parse(msg, off); err != nil {
		return false
	}
	h := maphash.Bytes(s.seed, name.Bytes())
	at := s.place(msg, h, name)
	if s.table[at] == 0 {
		s.offset[s.names], s.hash[s.names] = off, h
		s.names++
		s.table[at] = uint8(s.names)
	}
	s.owner[s.records] = s.table[at] - 1
	s.records++
	return true
}

// find notes that the name at off belongs to the response.
func (s *sought) find(msg []byte, off int, name *Name) {
	if s.nFound == s.names || off > HeaderLen && off+1 < len(msg) && msg[off] == 0xC0 && msg[off+1] == HeaderLen {
		return // all are found, or it is the question's name
	}
	if _, err := name.Parse(msg, off); err != nil {
		return
	}
	if n := s.table[s.place(msg, maphash.Bytes(s.seed, name.Bytes()), name)]; n != 0 && !s.found[n-1] {
		s.found[n-1] = true
		s.nFound++
	}
}

// place returns where in the table a name is, or would be.
func (s *sought) place(msg []byte, h uint64, name *Name) int {
	var other Name
	for at := int(h % uint64(len(s.table))); ; at = (at + 1) % len(s.table) {
		n := s.table[at]
		if n == 0 {
			return at
		}
		if s.hash[n-1] != h {
			continue
		}
		if s.found[n-1] {
			return at // nothing depends on whether the name is the same
		}
		if _, err := other.Parse(msg, s.offset[n-1]); err == nil && string(other.Bytes()) == string(name.Bytes()) {
			return at
		}
	}
}
