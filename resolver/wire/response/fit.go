package response

import "rideau/resolver/wire"

// Fit cuts the message that begins at base down to limit octets, which must be
// enough for the header and the question, by removing records from the end:
// whole RRsets, never part of one (RFC 2181 section 9). It sets TC if the
// answer or the authority section lost any, so that the client asks again over
// TCP; additional records are not essential. The message must not have an OPT
// record yet.
func Fit(dst []byte, base, limit int) []byte {
	m := dst[base:]
	if len(m) <= limit {
		return dst
	}
	var f fitter
	end := f.fill(m, limit)
	for again := true; again; {
		end, again = f.trimTorn(m, end)
	}
	counts, lost := f.count(m, end)
	for i, n := range counts {
		wire.SetCount(m, wire.Answer+wire.Section(i), n)
	}
	if lost {
		wire.SetFlags(m, wire.Flags(m)|wire.FlagTC)
	}
	return dst[:base+end]
}

// fitter holds the RRsets that fit.
type fitter struct {
	sets [16]rrset
	n    int
}

// rrset is an RRset, by its first record.
type rrset struct {
	first   wire.Record
	section wire.Section
}

// fill notes the RRsets of the records that fit, and returns where these
// records end: before the first record that does not fit, or whose RRset is one
// more than fitter can hold.
func (f *fitter) fill(m []byte, limit int) int {
	w := wire.NewWalk(m)
	end := w.Offset()
	var r wire.Record
	for w.Next(&r) && r.End <= limit {
		if f.find(m, &r) < 0 {
			if f.n == len(f.sets) {
				break
			}
			f.sets[f.n] = rrset{first: r, section: r.Section}
			f.n++
		}
		end = r.End
	}
	return end
}

// find returns the index of r's RRset among those noted, or -1. It searches
// backwards, as the records of an RRset usually stand together.
func (f *fitter) find(m []byte, r *wire.Record) int {
	for i := f.n - 1; i >= 0; i-- {
		s := &f.sets[i]
		if s.first.Type == r.Type && s.section == r.Section && s.first.Class == r.Class && wire.SameName(m, s.first.Off, r.Off) {
			return i
		}
	}
	return -1
}

// trimTorn finds RRsets that are cut at end: with records both before and after
// it. It moves end before such an RRset, and returns the new end; again reports
// that this may have cut others.
func (f *fitter) trimTorn(m []byte, end int) (_ int, again bool) {
	w := wire.NewWalk(m)
	var r wire.Record
	was := end
	for w.Next(&r) {
		if r.Off < was {
			continue
		}
		if i := f.find(m, &r); i >= 0 && f.sets[i].first.Off < end {
			end = f.sets[i].first.Off
			f.n = i
		}
	}
	return end, end < was
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
