// Package lang has what Rideau says to people in both official languages.
//
// The program is written in English: a sentence is looked up by its English form, which stands where it is said, as
// golang.org/x/text/message does it. What that package adds (plural forms, numbers by locale, tags for hundreds of languages, a catalogue in a
// package variable) is of no use here, and it has no test that every sentence has its translation. This table is a file that a translator can
// read from top to bottom, and its test finds what is missing and what has other verbs.
package lang

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Language is one of the official languages.
type Language string

// Languages.
const (
	English Language = "en"
	French  Language = "fr"
)

// Names returns the languages.
func Names() []string { return []string{string(English), string(French)} }

// Printer says things in one language. It is immutable.
type Printer struct {
	language Language
	table    map[string]string // from English; nil for English
}

// New makes a Printer. Of an unknown language it is that of English.
func New(l Language) *Printer {
	p := &Printer{language: English}
	if l == French {
		all := messages()
		p.language, p.table = French, make(map[string]string, len(all))
		for _, m := range all {
			p.table[m.en] = m.fr
		}
	}
	return p
}

// Language returns the language.
func (p *Printer) Language() Language { return p.language }

// Label returns a label of a line, which is given in English, in the language of p and filled
// with spaces, so that what follows begins in one column.
func (p *Printer) Label(en string) string {
	width := 10
	if p.language == French {
		width = 12 // “interdiction”
	}
	text := p.Say(en)
	return text + strings.Repeat(" ", max(width-utf8.RuneCountInString(text), 0))
}

// Say returns a sentence, which is given in English, in the language of p; with arguments, as [fmt.Sprintf] formats it. A sentence without a
// translation stays English.
func (p *Printer) Say(en string, args ...any) string {
	text := en
	if fr, ok := p.table[en]; ok {
		text = fr
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// messages returns all tables as one.
func messages() []message { return slices.Concat(french[:], journal[:], composed[:]) }

// Has reports whether a sentence has a translation.
func Has(en string) bool {
	for _, m := range messages() {
		if m.en == en {
			return true
		}
	}
	return false
}
