package response

import (
	"hash/maphash"

	"rideau/resolver/wire"
)

// Fit cuts the message that begins at base down to limit octets, which must be
// enough for the header and the question, by removing records from the end:
// whole RRsets, never part of one (RFC 2181 section 9). It sets TC if the
// answer or the authority section lost any, so that the client asks again over
// TCP; additional records are not essential. The message must not have an OPT
// record yet.
func Fit(dst []byte, base, limit int) []byte { return fit(dst, base, limit, false) }

// FitAddresses is Fit for a client that may never ask again over TCP. It may keep
// part of an answer's RRset of addresses: one of them is enough to be reached by, and
// a client that knows TC takes nothing from such a response (RFC 2181 section 9).
func FitAddresses(dst []byte, base, limit int) []byte { return fit(dst, base, limit, true) }

func fit(dst []byte, base, limit int, addresses bool) []byte {
	m := dst[base:]
	if len(m) <= limit {
		return dst
	}
	var f fitter
	end := f.whole(f.fill(m, limit), addresses)
	counts, lost := f.count(m, end)
	for i, n := range counts {
		wire.SetCount(m, wire.Answer+wire.Section(i), n)
	}
	if lost {
		wire.SetFlags(m, wire.Flags(m)|wire.FlagTC)
	}
	return dst[:base+end]
}

// fitter holds the RRsets that begin where a message still fits.
type fitter struct {
	sets [16]rrset
	n    int
}

// rrset is an RRset, by its first record.
type rrset struct {
	first   wire.Record
	section wire.Section
	hash    uint64 // of the owner name
	end     int    // of its last record
}

// fill notes the RRsets of the records that fit, and returns where these
// records end: before the first record that does not fit, or whose RRset is one
// more than fitter can hold. It visits each record once.
func (f *fitter) fill(m []byte, limit int) int {
	w := wire.NewWalk(m)
	end, full := w.Offset(), false
	seed := maphash.MakeSeed()
	var name wire.Name
	var r wire.Record
	for w.Next(&r) {
		full = full || r.End > limit
		if full && f.n == 0 {
			return end
		}
		if _, err := name.Parse(m, r.Off); err != nil {
			return end
		}
		h := maphash.Bytes(seed, name.Bytes())
		i := f.find(m, &r, h)
		if i < 0 && !full {
			if full = f.n == len(f.sets); !full {
				i = f.n
				f.sets[i] = rrset{first: r, section: r.Section, hash: h}
				f.n++
			}
		}
		if i >= 0 {
			f.sets[i].end = r.End
		}
		if !full {
			end = r.End
		}
	}
	return end
}

// find returns the index of r's RRset among those noted, or -1. It searches
// backwards, as the records of an RRset usually stand together. h is the hash
// of r's owner name.
func (f *fitter) find(m []byte, r *wire.Record, h uint64) int {
	for i := f.n - 1; i >= 0; i-- {
		s := &f.sets[i]
		if s.hash == h && s.first.Type == r.Type && s.section == r.Section && s.first.Class == r.Class && wire.SameName(m, s.first.Off, r.Off) {
			return i
		}
	}
	return -1
}

// whole moves end before each RRset that it would cut: one with records both
// before and after it. With addresses, those of the answer may be cut. It returns the
// new end.
func (f *fitter) whole(end int, addresses bool) int {
	for again := true; again; {
		again = false
		for i := range f.sets[:f.n] {
			s := &f.sets[i]
			if addresses && s.section == wire.Answer && (s.first.Type == wire.TypeA || s.first.Type == wire.TypeAAAA) {
				continue
			}
			if s.first.Off < end && s.end > end {
				end, again = s.first.Off, true
			}
		}
	}
	return end
}

// count counts the records before end by section, and reports whether the
// answer or authority section has others.
func (f *fitter) count(m []byte, end int) (counts [3]int, lost bool) {
	w := wire.NewWalk(m)
	var r wire.Record
	for w.Next(&r) {
		if r.End <= end {
			counts[r.Section-wire.Answer]++
		} else if r.Section != wire.Additional {
			return counts, true
		}
	}
	return counts, false
}
