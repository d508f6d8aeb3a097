package schema

import (
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Plain replaces the characters in JSON that change how text is shown, and that
// JSON lets stand: DEL, the controls from U+0080 to U+009F, which terminals obey,
// and those that reverse or hide text. They become escapes, so that the value
// stays what it is. The result shares b if there are none.
func Plain(b []byte) []byte {
	i := 0
	for i < len(b) && b[i] < 0x7f {
		i++
	}
	if i == len(b) {
		return b
	}
	out := append(make([]byte, 0, len(b)+64), b[:i]...)
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			if high, low := utf16.EncodeRune(r); r > 0xffff {
				out = escape(escape(out, high), low)
			} else {
				out = escape(out, r)
			}
		} else {
			out = append(out, b[i:i+n]...)
		}
		i += n
	}
	return out
}

func escape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
