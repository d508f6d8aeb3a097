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
type fault struct {
	reason, remedy string
	aside          bool // it is none: the line is about something else than names
}

// aside is why a line is passed over that is not about names.
func aside(reason string) fault { return fault{reason: reason, aside: true} }

// base is the fault without what it says of one line alone.
func (f fault) base() fault {
	if strings.HasPrefix(f.reason, faultRecord.reason) {
		return faultRecord
	}
	return f
}

// ok reports that there is no fault.
func (f fault) ok() bool { return f.reason == "" }

const remedyName = "write a host name, such as example.com"

var (
	faultEmptyLabel = fault{reason: "empty label (two dots in a row, or a dot first)", remedy: remedyName}
	faultLongLabel  = fault{reason: "label longer than 63 octets", remedy: remedyName}
	faultLongName   = fault{reason: "name longer than 255 octets", remedy: remedyName}
	faultRoot       = fault{reason: "the root covers every name", remedy: "name what to block"}
	faultTLD        = fault{reason: "a single label covers a whole top-level domain", remedy: "name what to block below it, or set allow_tld for the list"}
	faultPublic     = fault{reason: "a suffix under which anybody can have a name (a public suffix)", remedy: "name what to block below it, or set allow_tld for the list"}
	faultNumeric    = fault{reason: "neither a name nor an address (a top-level domain is never a number)", remedy: "correct the address, or write a host name"}
	faultStar       = fault{reason: "a star is allowed only as the whole first label", remedy: "write *.example.com for what is below a name"}
	faultEquals     = fault{reason: "an equals sign is allowed only before a whole name", remedy: "write =example.com for one name alone"}
	faultSpace      = fault{reason: "white space inside an entry", remedy: "write one entry a line; for lines of address and name set the list's format to hosts"}
	faultURL        = fault{reason: "a slash in a name: a URL, or a path, which DNS does not see", remedy: "write the host name alone, or an address block as 192.0.2.0/24"}
	faultPort       = fault{reason: "a colon in a name: a port, which DNS does not see", remedy: "write the host name alone"}
	faultAdblock    = fault{reason: "an adblock rule", remedy: "set the list's format to adblock"}
	faultChar       = fault{reason: "a character that no host name has", remedy: remedyName}
	faultUTF8       = fault{reason: "text that is not UTF-8", remedy: "save the file as UTF-8"}
	faultIDN        = fault{reason: "not a valid internationalised name", remedy: "correct it, or write its A-label form (xn--...)"}
	faultHostBits   = fault{reason: "an address block with bits set beyond its length", remedy: "write the block's first address, such as 192.0.2.0/24"}
	faultPrefix     = fault{reason: "not an address block", remedy: "write it as 192.0.2.0/24 or 2001:db8::/32"}
	faultAnyAddress = fault{reason: "an address block that covers every address", remedy: "name what to block"}
	faultZoneID     = fault{reason: "an address with a zone identifier", remedy: "write the address without %zone"}
	faultLongLine   = fault{reason: "line longer than 64 KiB", remedy: "write one entry a line"}
)
