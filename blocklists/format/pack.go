package format

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

// allTiers are the tiers that a pack may use. The last counts only if it is named.
var allTiers = [...]string{"service", "web", "cdn", "shared"}

// DefaultTiers returns the tiers whose rows count if none are
// named: those whose names serve the banned product alone.
func DefaultTiers() []string { return slices.Clone(allTiers[:3]) }

// packColumns counts the columns: domain, match, tier, purpose, source.
const packColumns = 5

var (
	faultColumns = syntax.Fault{Reason: "not the five columns of a pack, divided by tabs", Remedy: "write domain, match, tier, purpose and source with one tab between each"}
	faultMatch   = syntax.Fault{Reason: "unknown match", Remedy: "write suffix, exact or below, or address for an address or block of addresses"}
	faultTier    = syntax.Fault{Reason: "unknown tier", Remedy: "write service, web, cdn or shared"}
	faultHeader  = syntax.Fault{Reason: "the header names other columns than a pack has", Remedy: "write domain, match, tier, purpose and source with one tab between each"}
	faultAddress = syntax.Fault{Reason: "not an address", Remedy: "write an address or a block of addresses, or set match to suffix, exact or below"}
	faultIsAddr  = syntax.Fault{Reason: "an address with a match that is for names", Remedy: "set match to address"}
)

// pack reads a ban pack.
func (l *reader) pack() error {
	if err := l.setTiers(l.opt.Tiers); err != nil {
		return err
	}
	return l.each(nil, l.packLine)
}

// isPackRow reports whether a line has the second column of a pack: a match, or the
// header's word for it.
func isPackRow(line []byte) bool {
	_, rest, ok := bytes.Cut(line, []byte("\t"))
	match, _, more := bytes.Cut(rest, []byte("\t"))
	switch string(match) {
	case "match", "suffix", "exact", "below", "address":
		return ok && more
	}
	return false
}

// setTiers says which tiers count.
func (l *reader) setTiers(tiers []string) error {
	if len(tiers) == 0 {
		tiers = allTiers[:3]
	}
	for _, t := range tiers {
		i := slices.Index(allTiers[:], t)
		if i < 0 {
			return fmt.Errorf("%s: tier %q is unknown; use %s", l.opt.File, t, strings.Join(allTiers[:], ", "))
		}
		l.tiers[i] = true
	}
	return nil
}

// packLine reads a row of a pack.
func (l *reader) packLine(line []byte) error {
	if line[0] == '#' {
		l.comment()
		return l.packHeader(line)
	}
	var col [packColumns][]byte
	n := 0
	for rest, more := line, true; more; n++ {
		if n == packColumns {
			l.skip(line, faultColumns)
			return nil
		}
		col[n], rest, more = bytes.Cut(rest, []byte("\t"))
		col[n] = syntax.Trim(col[n])
	}
	if n < 3 { // an operator may leave purpose and source out
		l.skip(line, faultColumns)
		return nil
	}
	return l.packRow(line, col[0], string(col[1]), string(col[2]))
}

// packHeader checks that a header names the columns in
// the order in which they are read. Other comments pass.
func (l *reader) packHeader(line []byte) error {
	if !bytes.HasPrefix(line, []byte("#domain\t")) {
		return nil
	}
	if col := strings.Split(string(line), "\t"); len(col) < 3 || col[1] != "match" || col[2] != "tier" {
		return l.problem(line, faultHeader)
	}
	return nil
}

// packRow emits the entry of a row. A row of a tier that does not count is
// not examined further: its faults must not stop the others.
func (l *reader) packRow(line, domain []byte, match, tier string) error {
	i := slices.Index(allTiers[:], tier)
	switch {
	case i < 0:
		l.skip(line, faultTier)
		return nil
	case !l.tiers[i]:
		l.stats.OtherTier++
		return nil
	}
	m := entry.Suffix
	switch match {
	case "suffix":
	case "exact":
		m = entry.Exact
	case "below":
		m = entry.Below
	case "address":
		if !syntax.LikeAddress(domain) {
			l.skip(line, faultAddress)
			return nil
		}
		return l.emitEither(line, domain, entry.Exact)
	default:
		l.skip(line, faultMatch)
		return nil
	}
	if syntax.LikeAddress(domain) {
		l.skip(line, faultIsAddr)
		return nil
	}
	return l.emit(line, domain, m)
}
