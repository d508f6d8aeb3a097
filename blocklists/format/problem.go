package format

import (
	"fmt"
	"strings"
	"unicode"
)

// maxText bounds the text of a line that a Problem quotes, in octets.
const maxText = 80

// A Problem is a line that could not be used. It is an error that a person can
// act upon.
type Problem struct {
	File string
	Line int
	// Text is the offending text, cut to a length that a log line bears and
	// with what cannot be printed replaced.
	Text   string
	Reason string
	Remedy string
}

// String is FILE:LINE: "TEXT": REASON; REMEDY, without the parts that are empty.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Text != "" {
		fmt.Fprintf(&b, "%q: ", p.Text)
	}
	b.WriteString(p.Reason)
	if p.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(p.Remedy)
	}
	return b.String()
}

// Error is String.
func (p Problem) Error() string { return p.String() }

// quotable is text made fit for a Problem.
func quotable(text []byte) string {
	cut := len(text) > maxText
	if cut {
		text = text[:maxText]
	}
	s := strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(text))
	if cut {
		s += "..."
	}
	return s
}

// A fault is why a text is unusable and what to do about it: a Problem before
// it has a place. All faults are constants of this package, so that a list of
// nothing but bad lines costs no more memory than a good one.
type fault struct{ reason, remedy string }

// ok reports that there is no fault.
func (f fault) ok() bool { return f.reason == "" }

const remedyName = "write a host name, such as example.com"

var (
	faultEmptyLabel = fault{"empty label (two dots in a row, or a dot first)", remedyName}
	faultLongLabel  = fault{"label longer than 63 octets", remedyName}
	faultLongName   = fault{"name longer than 255 octets", remedyName}
	faultRoot       = fault{"the root covers every name", "name what to block"}
	faultTLD        = fault{"a single label covers a whole top-level domain", "name what to block below it, or set allow_tld for the list"}
	faultNumeric    = fault{"neither a name nor an address (a top-level domain is never a number)", "correct the address, or write a host name"}
	faultStar       = fault{"a star is allowed only as the whole first label", "write *.example.com for what is below a name"}
	faultEquals     = fault{"an equals sign is allowed only before a whole name", "write =example.com for one name alone"}
	faultSpace      = fault{"white space inside an entry", "write one entry a line; for lines of address and name set the list's format to hosts"}
	faultURL        = fault{"a slash in a name: a URL, or a path, which DNS does not see", "write the host name alone, or an address block as 192.0.2.0/24"}
	faultPort       = fault{"a colon in a name: a port, which DNS does not see", "write the host name alone"}
	faultAdblock    = fault{"an adblock rule", "set the list's format to adblock"}
	faultChar       = fault{"a character that no host name has", remedyName}
	faultUTF8       = fault{"text that is not UTF-8", "save the file as UTF-8"}
	faultIDN        = fault{"not a valid internationalised name", "correct it, or write its A-label form (xn--...)"}
	faultHostBits   = fault{"an address block with bits set beyond its length", "write the block's first address, such as 192.0.2.0/24"}
	faultPrefix     = fault{"not an address block", "write it as 192.0.2.0/24 or 2001:db8::/32"}
	faultAnyAddress = fault{"an address block that covers every address", "name what to block"}
	faultZoneID     = fault{"an address with a zone identifier", "write the address without %zone"}
	faultLongLine   = fault{"line longer than 64 KiB", "write one entry a line"}
)
