package read

import (
	"bytes"
	"encoding/json"
)

// scanner reads one JSON object. Errors are sticky: after one, nothing is read.
type scanner struct {
	b   []byte
	i   int
	bad bool
}

// space skips white space and returns the next octet; 0 at the end.
func (s *scanner) space() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// take skips an octet that must come next.
func (s *scanner) take(c byte) {
	if s.bad || s.space() != c {
		s.bad = true
		return
	}
	s.i++
}

// open begins an object. Afterwards next returns its keys.
func (s *scanner) open() { s.take('{') }

// next returns the next key, and stands before its value; ok is false after the
// last one. first is true for the first call after open.
func (s *scanner) next(first bool) (key []byte, ok bool) {
	c := s.space()
	if s.bad || c == '}' {
		s.i++
		return nil, false
	}
	if !first {
		s.take(',')
		s.space()
	}
	key = s.text()
	s.take(':')
	s.space()
	return key, !s.bad
}

// text reads a string. It is part of the line, unless it has escapes.
func (s *scanner) text() []byte {
	s.take('"')
	begin, escaped := s.i, false
	for !s.bad {
		n := bytes.IndexByte(s.b[min(s.i, len(s.b)):], '"')
		if n < 0 {
			break
		}
		part := s.b[s.i : s.i+n]
		s.i += n + 1
		if bytes.IndexByte(part, '\\') < 0 && !escaped {
			return part
		}
		escaped = true
		if slashes(s.b[begin:s.i-1])%2 == 0 {
			var out string
			if json.Unmarshal(s.b[begin-1:s.i], &out) != nil {
				break
			}
			return []byte(out)
		}
	}
	s.bad = true
	return nil
}

// slashes counts the backslashes at the end.
func slashes(b []byte) int { return len(b) - len(bytes.TrimRight(b, `\`)) }

// truth reads true or false.
func (s *scanner) truth() bool {
	is := bytes.HasPrefix(s.b[min(s.i, len(s.b)):], []byte("true"))
	s.skip()
	return is
}

// skip skips a value.
func (s *scanner) skip() {
	for depth := 0; !s.bad; {
		switch s.space() {
		case 0:
			s.bad = true
		case '"':
			s.text()
		case '{', '[':
			depth++
			s.i++
			continue
		case '}', ']':
			depth--
			s.i++
		case ',', ':':
			if depth == 0 {
				return
			}
			s.i++
			continue
		default:
			s.i++
			for s.i < len(s.b) && bytes.IndexByte([]byte(",:]} \t\r\n\""), s.b[s.i]) < 0 {
				s.i++
			}
		}
		if depth <= 0 {
			s.bad = s.bad || depth < 0
			return
		}
	}
}
