package key

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Difference is a key whose value differs between two structs. A value that only one of them has is empty in the other.
type Difference struct {
	// Key is the dotted path. An element of a list of mappings has its id, or what else comes first in it, in brackets: bans[chat].mode.
	Key           string
	Before, After string
	Applies       Application
	// Line is where the second text has the key, or the section that would have it; 0 if it is not known.
	Line int
}

// Differences returns what differs between two structs of the same type, in the order of the fields, as people write it. The values are
// bounded in length. Users, passwords and queries of URLs are left out. line returns the line of the dotted path of a key of the second
// struct, with indexes of lists: bans[3].mode.
func Differences(a, b reflect.Value, line func(path string) int) []Difference {
	c := comparison{line: line}
	c.mappings("", "", "", a, b)
	return c.out
}

// comparison collects what differs. Its methods take the key as people write it, and the path by which its line is found.
type comparison struct {
	line func(path string) int
	out  []Difference
}

func (c *comparison) add(key, path, before, after string, applies Application) {
	c.out = append(c.out, Difference{key, before, after, applies, c.line(path)})
}

func (c *comparison) mappings(parent, parentPath string, inherited Application, a, b reflect.Value) {
	t := a.Type()
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("key")
		if tag == "" || tag == "-" {
			continue
		}
		key, path, applies := strings.TrimPrefix(parent+"."+tag, "."), strings.TrimPrefix(parentPath+"."+tag, "."), inherited
		if s := t.Field(i).Tag.Get("applies"); s != "" {
			applies = Application(s)
		}
		switch fa, fb := a.Field(i), b.Field(i); {
		case isMapping(fa.Type()):
			c.mappings(key, path, applies, fa, fb)
		case same(fa, fb):
		case fa.Kind() == reflect.Slice && isMapping(fa.Type().Elem()):
			c.elements(key, path, applies, fa, fb)
		default:
			before, after := values(fa, fb)
			c.add(key, path, before, after, applies)
		}
	}
}

// elements compares lists of mappings: what comes first in a mapping is its name.
func (c *comparison) elements(key, path string, applies Application, a, b reflect.Value) {
	before, after := namesOf(a), namesOf(b)
	if _, written := reflect.Zero(a.Type().Elem()).Interface().(fmt.Stringer); written && !slices.Equal(before, after) {
		// An element that can be written as one word is known by it.
		c.add(key, path, list(before), list(after), applies)
	} else {
		for i, name := range before {
			if !slices.Contains(after, name) {
				c.add(element(key, name), path, text(a.Index(i)), "", applies)
			}
		}
		for i, name := range after {
			if !slices.Contains(before, name) {
				c.add(element(key, name), element(path, strconv.Itoa(i)), "", text(b.Index(i)), applies)
			}
		}
		stay := func(of, others []string) []string {
			return slices.DeleteFunc(slices.Clone(of), func(n string) bool { return !slices.Contains(others, n) })
		}
		if x, y := stay(before, after), stay(after, before); !slices.Equal(x, y) {
			c.add(key+" (order)", path, list(x), list(y), applies)
		}
	}
	for i, name := range before {
		if j := slices.Index(after, name); j >= 0 {
			c.mappings(element(key, name), element(path, strconv.Itoa(j)), applies, a.Index(i), b.Index(j))
		}
	}
}

func element(key, name string) string { return key + "[" + name + "]" }

// namesOf returns what comes first in each mapping of a list.
func namesOf(v reflect.Value) []string {
	var out []string
	for i := range v.Len() {
		e := v.Index(i)
		for f := range e.NumField() {
			if tag := e.Type().Field(f).Tag.Get("key"); tag != "" && tag != "-" {
				name := text(e.Field(f))
				if e.Field(f).Kind() == reflect.Slice {
					name = name[1 : len(name)-1]
				}
				out = append(out, name)
				break
			}
		}
	}
	return out
}

// values writes two values that differ and are no mappings.
func values(a, b reflect.Value) (before, after string) {
	before, after = text(a), text(b)
	if a.Kind() == reflect.Slice && (a.Len() > longList || b.Len() > longList) {
		x, y := words(a), words(b)
		before, after = only(x, y), only(y, x)
	}
	if before == after {
		after += " (the part that differs is not shown)"
	}
	return before, after
}

// longList is the number of elements up to which a list is written as a whole.
const longList = 12

// only writes those elements of a long list that another list does not have.
func only(of, others []string) string {
	known := map[string]bool{}
	for _, o := range others {
		known[o] = true
	}
	left := slices.DeleteFunc(slices.Clone(of), func(x string) bool { return known[x] })
	if len(left) == 0 {
		return fmt.Sprintf("%d values", len(of))
	}
	more := ""
	if len(left) > longList {
		left, more = left[:longList], ", ..."
	}
	return fmt.Sprintf("%d values, of which only here [%s%s]", len(of), strings.Join(left, ", "), more)
}

// text writes a value as people write it.
func text(v reflect.Value) string {
	if isMapping(v.Type()) {
		return bound(mapping(v))
	}
	switch x := v.Interface().(type) {
	case time.Time:
		if x.IsZero() {
			return "none"
		}
		return x.Format(time.RFC3339)
	case time.Duration:
		return short(x)
	case fmt.Stringer:
		if v.IsZero() && v.Kind() == reflect.Struct { // an address that is none
			return "none"
		}
		return bound(x.String())
	}
	switch v.Kind() {
	case reflect.Slice:
		return bound(list(words(v)))
	case reflect.String:
		return bound(plain(v.String()))
	}
	return bound(fmt.Sprint(v.Interface()))
}

// mapping writes a mapping in one line, without the values that are zero.
func mapping(v reflect.Value) string {
	var parts []string
	for i := range v.NumField() {
		tag, f := v.Type().Field(i).Tag.Get("key"), v.Field(i)
		if tag == "" || tag == "-" || f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0 {
			continue
		}
		parts = append(parts, tag+": "+text(f))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func words(v reflect.Value) []string {
	var out []string
	for i := range v.Len() {
		out = append(out, text(v.Index(i)))
	}
	return out
}

func list(words []string) string { return "[" + strings.Join(words, ", ") + "]" }

// plain writes a string: a URL without what may be secret in it, and what cannot be printed in quotes.
func plain(s string) string {
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil {
			return "a URL"
		}
		u.User = nil
		if u.RawQuery != "" {
			u.RawQuery = "..."
		}
		s = u.String()
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// bound cuts a text that is very long.
func bound(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// short writes a duration as people do: 5m, not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
