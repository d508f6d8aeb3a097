package format

import (
	"fmt"
	"strings"
)

// Problem is a line that could not be used. It is an error that a person can
// act upon.
type Problem struct {
	File string
	Line int
	// Text is the offending text, cut to a length that fits into a line of a log
	// and with what cannot be printed replaced. It is empty if the problem is of the whole list.
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
