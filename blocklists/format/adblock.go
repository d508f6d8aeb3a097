package format

import (
	"bytes"
	"unicode/utf8"
)

var (
	faultException = fault{"an exception rule", "put the name into the list of an exception"}
	faultModifier  = fault{"a rule with modifiers, which say more than a name", "write ||example.com^ if the whole name is to be blocked"}
	faultCosmetic  = fault{"a rule about a page's contents, which DNS does not see", "leave it out; it is for browsers"}
	faultRegexp    = fault{"a regular expression", "write the names it is meant for"}
	faultPattern   = fault{"a pattern for URLs, which DNS does not see", "write ||example.com^ if the whole name is to be blocked"}
)

// adblockLine reads a rule of adblock syntax as far as it is about names:
// ||NAME^ is a name and all below, |NAME^ and a bare NAME one name alone.
func (l *reader) adblockLine(line []byte) error {
	if isAdblockComment(line) {
		l.comment()
		return nil
	}
	if f := adblockFault(line); !f.ok() {
		l.skip(line, f)
		return nil
	}
	text, m := line, Exact
	if rest, ok := bytes.CutPrefix(text, []byte("||")); ok {
		text, m = rest, Suffix
	} else if rest, ok := bytes.CutPrefix(text, []byte("|")); ok {
		text = rest
	}
	text = bytes.TrimSuffix(text, []byte("|"))
	text = bytes.TrimSuffix(text, []byte("^"))
	if rest, ok := bytes.CutPrefix(text, []byte("*.")); ok {
		text, m = rest, Below
	}
	if likeAddress(text) {
		return l.emitEither(line, text, m)
	}
	for _, b := range text {
		if isSpace(b) {
			l.skip(line, faultSpace)
			return nil
		}
		if !hostChar[b] && b < utf8.RuneSelf {
			l.skip(line, faultPattern)
			return nil
		}
	}
	return l.emit(line, text, m)
}

// isAdblockComment tells comments and headers such as [Adblock Plus 2.0]. A #
// is one too, unless it begins a cosmetic rule (see adblockFault).
func isAdblockComment(line []byte) bool {
	switch line[0] {
	case '!':
		return true
	case '[':
		return line[len(line)-1] == ']'
	case '#':
		return cosmeticAt(line) != 0 || bytes.HasPrefix(line, []byte("####"))
	}
	return false
}

// adblockFault tells the rules that are about more than a name.
func adblockFault(line []byte) fault {
	switch {
	case bytes.HasPrefix(line, []byte("@@")):
		return faultException
	case cosmeticAt(line) >= 0:
		return faultCosmetic
	case line[0] == '/' && bytes.IndexByte(line[1:], '/') >= 0:
		return faultRegexp
	case bytes.IndexByte(line, '$') >= 0:
		return faultModifier
	case bytes.Contains(line, []byte("://")):
		return faultPattern
	}
	if i := bytes.IndexByte(line, '/'); i >= 0 && !likeAddress(bytes.Trim(line, "|^")) {
		return faultPattern
	}
	return fault{}
}

// cosmeticAt is where the separator of a cosmetic or scriptlet rule is in the
// line: ##, #@#, #?#, #$#, #%# and those of two marks such as #@?#; -1 if
// there is none.
func cosmeticAt(line []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '#')
		if i < 0 {
			return -1
		}
		i += from
		rest := bytes.TrimLeft(line[i+1:], "@?$%")
		if len(rest) > 0 && rest[0] == '#' {
			return i
		}
		from = i + 1
	}
}
