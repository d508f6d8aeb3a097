// Package page writes a report for people and for other programs: as a page, as
// Markdown, as JSON, and as CSV; in English and in French.
package page

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rideau/cmd/rideau/internal/report"
)

// Formats are the formats of Write.
func Formats() []string { return []string{"html", "md", "json", "csv"} }

// Languages are the languages of the formats html and md.
func Languages() []string { return []string{"en", "fr"} }

// Write writes a report.
func Write(w io.Writer, r *report.Report, format, lang string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "csv":
		return writeCSV(w, r)
	case "md":
		return writeMarkdown(w, compose(r, language(lang)))
	case "html":
		return writeHTML(w, compose(r, language(lang)))
	}
	return fmt.Errorf("unknown format %q", format)
}

// language is en or fr.
type language string

// say returns a text.
func (l language) say(key string, args ...any) string {
	w, ok := words[key]
	text := w.en
	if l == "fr" {
		text = w.fr
	}
	if !ok { // a kind of a later version
		_, text, _ = strings.Cut(key, ".")
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// has reports whether there is a text.
func has(key string) bool { _, ok := words[key]; return ok }

// number writes a whole number.
func (l language) number(n int64) string {
	digits, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		digits, sign = digits[1:], "−"
	}
	between := ","
	if l == "fr" {
		between = "\u202f"
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && len(digits) > 3 {
			b.WriteString(between)
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// minutes writes minutes, with a decimal if there are few.
func (l language) minutes(m float64) string {
	if m >= 100 || m == math.Trunc(m) {
		return l.number(int64(m))
	}
	return l.point(strconv.FormatFloat(math.Trunc(m*100)/100, 'f', 2, 64))
}

func (l language) point(text string) string {
	if l == "fr" {
		return strings.Replace(text, ".", ",", 1)
	}
	return text
}

// share writes a part of a whole in per cent. It is never rounded up: what is not
// all is not 100.
func (l language) share(part, whole float64) string {
	if whole <= 0 {
		return "–"
	}
	text := "100"
	switch {
	case part <= 0:
		text = "0"
	case part < whole:
		text = strconv.FormatFloat(math.Floor(part/whole*10000)/100, 'f', 2, 64)
	}
	if text = l.point(text); l == "fr" {
		return text + "\u00a0%"
	}
	return text + "%"
}

// day writes a date in full.
func (l language) day(t time.Time) string {
	months := [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}
	if l != "fr" {
		return t.Format("January 2, 2006")
	}
	day := strconv.Itoa(t.Day())
	if day == "1" {
		day = "1er"
	}
	return day + "\u00a0" + months[t.Month()-1] + "\u00a0" + strconv.Itoa(t.Year())
}

// clean replaces what is not to be seen, or changes how the rest is seen.
func clean(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// hidden reports whether a character is a control or a format character, such as
// those that reverse the direction of text.
func hidden(r rune) bool {
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
}
