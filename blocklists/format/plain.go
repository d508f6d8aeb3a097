package format

import (
	"bytes"

	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
)

// plain reads a plain list.
func (l *reader) plain() error {
	if l.opt.WildcardIncludesName {
		return l.each(widePlainShapes, l.plainLine)
	}
	return l.each(plainShapes, l.plainLine)
}

// plainLine reads a line of a plain list: NAME or .NAME, =NAME, *.NAME, an address or a
// block of addresses.
func (l *reader) plainLine(line []byte) error {
	text := syntax.Uncomment(line)
	switch {
	case len(text) == 0 || isNote(text):
		l.comment()
		return nil
	case text[0] == '=':
		return l.emit(text, text[1:], entry.Exact)
	case bytes.HasPrefix(text, []byte("*.")) && l.opt.WildcardIncludesName:
		return l.emit(text, text[2:], entry.Suffix)
	case bytes.HasPrefix(text, []byte("*.")):
		return l.emit(text, text[2:], entry.Below)
	case len(text) > 2 && text[0] == '.' && text[1] != '.':
		return l.emit(text, text[1:], entry.Suffix) // as proxies and dnsmasq have it
	}
	return l.emitEither(text, text, entry.Suffix)
}
