package format

import (
	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

// shape is how nearly all lines of a format look: a host name between two
// texts, and no more. Such lines are read eight octets at a step. All others,
// and those that may be wrong, are left to the format's full rules.
type shape struct {
	before, after string
	match         entry.Match
}

// Shapes are tried in order: the one with nothing before the name is last.
var (
	plainShapes = []shape{{"=", "", entry.Exact}, {"*.", "", entry.Below}, {"", "", entry.Suffix}}
	// widePlainShapes are plainShapes with WildcardIncludesName.
	widePlainShapes = []shape{{"=", "", entry.Exact}, {"*.", "", entry.Suffix}, {"", "", entry.Suffix}}
	hostsShapes     = []shape{{"0.0.0.0 ", "", entry.Exact}, {"127.0.0.1 ", "", entry.Exact}, {"0.0.0.0\t", "", entry.Exact}, {"127.0.0.1\t", "", entry.Exact}, {"", "", entry.Exact}}
	adblockShapes   = []shape{{"||", "^", entry.Suffix}, {"", "", entry.Exact}}
)

// quickLine is how many octets a line of any shape needs at most, its end and what
// the last step reads beyond the name included.
const quickLine = syntax.MaxQuick + 25

// quick reads the lines that have one of the shapes, up to the first that has none or is not whole in the
// buffer.
func (l *reader) quick(shapes []shape) (err error) {
	all := l.lines.Buffered()
	rest := all
	l.bad = false
	for err == nil && len(shapes) > 0 && len(rest) >= quickLine {
		s := fit(shapes, rest)
		text := rest[len(s.before):]
		name, n := l.names.Quick(text)
		end := lineEnd(text[n:], s.after)
		if n == 0 || end == 0 || l.opt.Format == Hosts && isLocal(text) || l.opt.Format == Adblock && (text[n-1] == '.' || text[0] == '-') {
			break
		}
		rest = text[n+end:]
		l.lines.N++
		l.at, l.bad = l.lines.N, false
		l.content++
		err = l.emitName(name, s.match)
	}
	l.lines.Discard(len(all) - len(rest))
	return err
}

// fit returns the first shape that a line may have.
func fit(shapes []shape, line []byte) *shape {
	for i := range shapes {
		s := &shapes[i]
		if len(s.before) == 0 || line[0] == s.before[0] && string(line[:len(s.before)]) == s.before {
			return s
		}
	}
	return &shapes[len(shapes)-1]
}

// lineEnd returns the length of text and a line end, if b begins with them; 0
// if it does not.
func lineEnd(b []byte, text string) int {
	if string(b[:len(text)]) != text {
		return 0
	}
	switch n := len(text); {
	case b[n] == '\n':
		return n + 1
	case b[n] == '\r' && b[n+1] == '\n':
		return n + 2
	}
	return 0
}
