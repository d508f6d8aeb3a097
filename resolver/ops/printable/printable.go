// Package printable keeps control characters from terminals, logs and replies. A terminal obeys some of them: text from
// a list, a configuration or a query could hide what is printed, or print something else.
package printable

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// safe reports whether a character can be printed as it is. Spaces of all kinds can; what is invisible or changes
// the direction of text cannot.
func safe(r rune) bool { return r >= ' ' && r <= '~' || r > '~' && unicode.IsGraphic(r) }

// appendEscaped appends a character as JSON writes it in a string, which people understand as well: \u001b.
func appendEscaped(dst []byte, r rune) []byte {
	if r > 0xFFFF {
		r -= 0x10000
		return fmt.Appendf(dst, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
	}
	return fmt.Appendf(dst, `\u%04x`, r)
}

// Text returns text with an escape in place of each character that cannot be printed, those that end a line or move along it included.
func Text(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !safe(r) || r == utf8.RuneError }) {
		return s
	}
	out, _ := escape(nil, []byte(s), "")
	return string(out)
}

// escape appends b with escapes in place of what cannot be printed and is not in but. It returns what is left at the end because it is the
// beginning of a character.
func escape(dst, b []byte, but string) (out, rest []byte) {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1 && !utf8.FullRune(b) && but != "":
			return dst, b
		case r == utf8.RuneError && size == 1:
			dst = fmt.Appendf(dst, `\x%02x`, b[0])
		case safe(r) || r < ' ' && strings.ContainsRune(but, r):
			dst = append(dst, b[:size]...)
		default:
			dst = appendEscaped(dst, r)
		}
		b = b[size:]
	}
	return dst, nil
}

// Writer passes text on with escapes in place of what cannot be printed, except for line feeds and tabs. JSON stays JSON. It is safe for
// concurrent use.
type Writer struct {
	mu   sync.Mutex
	w    io.Writer
	rest []byte // the beginning of a character
	buf  []byte
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes text. A character that b has the beginning of is written by the next call. The error is that of the writer below.
func (w *Writer) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := b
	if len(w.rest) > 0 {
		in = append(w.rest, b...)
	}
	var rest []byte
	w.buf, rest = escape(w.buf[:0], in, "\n\t")
	w.rest = append([]byte(nil), rest...)
	if _, err := w.w.Write(w.buf); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close writes the beginning of a character that never came to an end. It does not close the writer below.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []byte
	for _, b := range w.rest {
		out = fmt.Appendf(out, `\x%02x`, b)
	}
	w.rest = nil
	if out == nil {
		return nil
	}
	_, err := w.w.Write(out)
	return err
}
