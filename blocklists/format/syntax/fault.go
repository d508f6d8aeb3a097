// Package syntax has what the formats of lists share: lines, fields, host
// names, blocks of addresses, and what can be wrong with them.
package syntax

import (
	"strings"
	"unicode"
)

// Fault is why a text is unusable and what to do about it. The zero Fault is
// none. All faults but their Detail are constants, so that a list of nothing but bad
// lines costs no more memory than a good one.
type Fault struct {
	Reason, Remedy string
	// Detail is what the reason is in this case; empty if there is no more to say.
	Detail string
	// Mixed is the remedy in place of Remedy where the format was detected, if Remedy names another: most lines have this one. Empty: Remedy.
	Mixed string
	// Aside is set if nothing is wrong: the text is about something else than names.
	Aside bool
}

// Aside is the Fault of a text that is not about names.
func Aside(reason string) Fault { return Fault{Reason: reason, Aside: true} }

// OK reports that there is no fault.
func (f Fault) OK() bool { return f.Reason == "" }

// String is the reason with its detail.
func (f Fault) String() string {
	if f.Detail == "" {
		return f.Reason
	}
	return f.Reason + " (" + f.Detail + ")"
}

// Error is what ends the reading of a list: the text at hand shows that it is
// no list at all, or reading failed. Whoever returns it to a user adds the place.
type Error struct {
	Text  []byte // what to quote
	Fault Fault
	Err   error // what reading failed with; then there is no Fault
}

func (e *Error) Error() string {
	if e.Err != nil {
		return "read: " + e.Err.Error()
	}
	return e.Fault.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// MaxQuote bounds a text that is quoted, in octets.
const MaxQuote = 80

// Quote makes a text fit for a message: it is cut to MaxQuote octets, and what
// cannot be printed is replaced.
func Quote(text []byte) string {
	cut := len(text) > MaxQuote
	if cut {
		text = text[:MaxQuote]
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
