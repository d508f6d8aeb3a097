package format

import (
	"bytes"
	"hash/fnv"
	"slices"
	"unicode/utf8"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

var (
	faultGoesOn = syntax.Fault{Reason: "a pattern for names that go on after the dot", Remedy: "write the names it is meant for: ||example.com^ is a name and all below it"}
	faultEndsSo = syntax.Fault{Reason: "a pattern for every name that ends so, such as myexample.com", Remedy: "write ||example.com^ for the name and all below it"}
	faultBegins = syntax.Fault{Reason: "a pattern that begins within a label", Remedy: "write the names it is meant for: ||example.com^ is a name and all below it"}
	faultScheme = syntax.Fault{Reason: "a pattern with the end of a URL's scheme", Remedy: remedyWhole}
)

// pattern is what an adblock rule is about, without its anchors.
type pattern struct {
	name  []byte
	match entry.Match
	// before and after are the anchors: "||", "|", "*.", "." or none, and "^", "|", "/*" and the like.
	before, after string
}

// parsePattern divides the pattern of a rule. "||" and "|" are the beginning of a host name, with or without names before it. A "^" or a
// "|" is its end. A pattern for every path of a host is about the host.
func parsePattern(text []byte) (p pattern) {
	p.name, p.match = text, entry.Exact
	if rest, ok := bytes.CutPrefix(text, []byte("||")); ok {
		p.name, p.before, p.match = rest, "||", entry.Suffix
	} else if rest, ok := bytes.CutPrefix(text, []byte("|")); ok {
		p.name, p.before = rest, "|"
	}
	for _, end := range [...]string{"^*", "^|", "/*", "/", "^", "|"} {
		if p.before != "||" && end[0] == '/' {
			continue
		}
		if rest, ok := bytes.CutSuffix(p.name, []byte(end)); ok {
			p.name, p.after = rest, end
			break
		}
	}
	if rest, ok := bytes.CutPrefix(p.name, []byte("*.")); ok {
		p.name, p.match = rest, entry.Below
		p.before += "*."
	} else if rest, ok := bytes.CutPrefix(p.name, []byte(".")); ok && p.before == "" && len(rest) > 1 {
		p.name, p.match, p.before = rest, entry.Below, "."
	}
	return p
}

// isBare reports whether the whole pattern is a name, without anchors.
func (p *pattern) isBare(text []byte) bool {
	return len(p.name) == len(text) && p.match == entry.Exact && !syntax.LikeAddress(text)
}

// patternFault returns why a pattern is not that of a name, or of a name with those below it. Where a pattern means more
// names than one can write, such as those that go on after ||example.com, the names that it surely means count. A pattern that means
// such names above all is skipped: to take it for the name would block, or let through, another one.
func patternFault(p *pattern) syntax.Fault {
	if rest, ok := bytes.CutPrefix(p.name, []byte("://")); ok && isNamePattern(rest) {
		return faultScheme
	}
	star := false
	for _, b := range p.name {
		switch {
		case syntax.IsSpace(b):
			return syntax.FaultSpace
		case b == '*':
			star = true
		case !syntax.HostChar[b] && b < utf8.RuneSelf:
			return faultPattern
		}
	}
	switch n := len(p.name); {
	case star:
		return faultWildcard
	case n > 1 && p.name[n-1] == '.':
		return faultGoesOn
	case n > 1 && p.before == "" && p.name[0] == '-':
		return faultBegins
	case n > 0 && p.before == "" && p.after != "" && !syntax.LikeAddress(p.name):
		return faultEndsSo
	}
	return syntax.Fault{}
}

// isNamePattern reports whether a pattern consists of octets of names
// and asterisks.
func isNamePattern(text []byte) bool {
	for _, b := range text {
		if b != '*' && !syntax.HostChar[b] && b < utf8.RuneSelf {
			return false
		}
	}
	return len(text) > 0
}

// spelling returns a number of how a rule is written, beside the name: $badfilter cancels the rule that is written as it is. 0 is the usual form:
// ||NAME^, ||*.NAME^ or a bare NAME, without modifiers that say no more. text is the whole pattern.
func spelling(text []byte, p *pattern, more []string) uint8 {
	usual := string(text) == string(p.name)
	if p.match != entry.Exact {
		usual = p.after == "^" && (p.before == "||" || p.before == "||*.")
	}
	if usual && len(more) == 0 {
		return 0
	}
	slices.Sort(more)
	h := fnv.New32a()
	h.Write([]byte(p.before + " " + p.after))
	for _, m := range more {
		h.Write([]byte("," + m))
	}
	return 1 + uint8(h.Sum32()%entry.MaxSpelling)
}
