package format

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// allTiers are the tiers a pack may use; the last is taken only when asked for.
var allTiers = [...]string{"service", "web", "cdn", "shared"}

// DefaultTiers returns the tiers that are taken from a pack when none are
// named: those whose names serve the banned product alone.
func DefaultTiers() []string { return slices.Clone(allTiers[:3]) }

// packColumns counts the columns: domain, match, tier, purpose, source.
const packColumns = 5

var (
	faultColumns = fault{reason: "not the five columns of a pack, divided by tabs", remedy: "write domain, match, tier, purpose and source with one tab between each"}
	faultMatch   = fault{reason: "unknown match", remedy: "write suffix, exact or below, or address for an address or block of addresses"}
	faultTier    = fault{reason: "unknown tier", remedy: "write service, web, cdn or shared"}
	faultHeader  = fault{reason: "the header names other columns than a pack has", remedy: "write domain, match, tier, purpose and source with one tab between each"}
	faultAddress = fault{reason: "not an address", remedy: "write an address or a block of addresses, or set match to suffix, exact or below"}
	faultIsAddr  = fault{reason: "an address with a match that is for names", remedy: "set match to address"}
)

// setTiers chooses the tiers to take.
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
		col[n] = trim(col[n])
	}
	if n < 3 { // an operator may leave purpose and source out
		l.skip(line, faultColumns)
		return nil
	}
	return l.packRow(line, col[0], string(col[1]), string(col[2]))
}

// packHeader checks that the header, if the line is it, names the columns in
// the order in which they are read.
func (l *reader) packHeader(line []byte) error {
	if !bytes.HasPrefix(line, []byte("#domain\t")) {
		return nil
	}
	if col := strings.Split(string(line), "\t"); len(col) < 3 || col[1] != "match" || col[2] != "tier" {
		return l.problem(line, faultHeader)
	}
	return nil
}

// packRow emits the entry of a row. The row of a tier that is not asked for is
// not looked at further: it must not stop those that are.
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
	m := Suffix
	switch match {
	case "suffix":
	case "exact":
		m = Exact
	case "below":
		m = Below
	case "address":
		if !likeAddress(domain) {
			l.skip(line, faultAddress)
			return nil
		}
		return l.emitEither(line, domain, Exact)
	default:
		l.skip(line, faultMatch)
		return nil
	}
	if likeAddress(domain) {
		l.skip(line, faultIsAddr)
		return nil
	}
	return l.emit(line, domain, m)
}
