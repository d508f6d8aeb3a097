package resolvertest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// line is one line of a scenario's files with the lines that are indented
// below it.
type line struct {
	at    int // line number in the scenario's file
	text  string
	words []string // of text
	block []line   // indented lines, without words, less the first one's indentation

	indent string // of the first line of block
}

// blockText is the block as the text of a file.
func (l *line) blockText() string {
	var b strings.Builder
	for _, in := range l.block {
		b.WriteString(in.text + "\n")
	}
	return b.String()
}

// parseLines reads text whose first line is line number first of its file.
// Blank lines and lines that begin with # are skipped, except in blocks, where
// every line counts.
func parseLines(text string, first int) ([]line, error) {
	var out []line
	for i, s := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		at := first + i
		s = strings.TrimRight(s, " \t\r")
		indented := s != "" && (s[0] == ' ' || s[0] == '\t')
		switch {
		case s == "" || s[0] == '#':
		case indented && len(out) == 0:
			return nil, &lineError{at, errors.New("indented, and nothing above to belong to")}
		case indented:
			last := &out[len(out)-1]
			if len(last.block) == 0 {
				last.indent = s[:len(s)-len(strings.TrimLeft(s, " \t"))]
			}
			last.block = append(last.block, line{at: at, text: strings.TrimPrefix(s, last.indent)})
		default:
			words, err := split(s)
			if err != nil {
				return nil, &lineError{at, err}
			}
			out = append(out, line{at: at, text: s, words: words})
		}
	}
	return out, nil
}

// lineError is an error in a line.
type lineError struct {
	at  int
	err error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.at, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// split splits a line into words at white space. Between double quotes a word may
// have any character; the quotes are removed. A # at the start of a word begins a
// comment.
func split(s string) ([]string, error) {
	var words []string
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == '#' {
			return words, nil
		}
		var w strings.Builder
		quoted := false
		i := 0
		for ; i < len(s); i++ {
			switch c := s[i]; {
			case c == '"':
				quoted = !quoted
				continue
			case !quoted && unicode.IsSpace(rune(c)):
			default:
				w.WriteByte(c)
				continue
			}
			break
		}
		if quoted {
			return nil, errors.New("a double quote without its other")
		}
		words = append(words, w.String())
		s = s[i:]
	}
}

// options parses words as options: "key=value", or "key", which has the value "".
// The setter of a key is called with its value. A key without a setter is an error.
func options(words []string, set map[string]func(string) error) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		f := set[key]
		if f == nil {
			return fmt.Errorf("unknown option %q", w)
		}
		if err := f(value); err != nil {
			return fmt.Errorf("%s: %w", w, err)
		}
	}
	return nil
}

// The functions below make setters for options.

func setBool(p *bool) func(string) error {
	return func(s string) error {
		if s != "" {
			return errors.New("takes no value")
		}
		*p = true
		return nil
	}
}

func setInt(p *int) func(string) error {
	return func(s string) (err error) { *p, err = strconv.Atoi(s); return err }
}

func setDuration(p *time.Duration) func(string) error {
	return func(s string) (err error) { *p, err = time.ParseDuration(s); return err }
}

// fold is the form in which names are compared: lower case, with the last dot.
func fold(name string) string {
	name = strings.ToLower(name)
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	return name
}
