package format

import "bytes"

// plainLine reads a line of a plain list: NAME, =NAME, *.NAME, an address or a
// block of addresses.
func (l *reader) plainLine(line []byte) error {
	text := uncomment(line)
	switch {
	case len(text) == 0:
		l.comment()
		return nil
	case text[0] == '=':
		return l.emit(text, text[1:], Exact)
	case bytes.HasPrefix(text, []byte("*.")):
		return l.emit(text, text[2:], Below)
	}
	return l.emitEither(text, text, Suffix)
}
