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
}

// Differences returns what differs between two structs of the same type, in the order of the fields, as people write it. The values are
// bounded in length. Users, passwords and queries of URLs are left out.
func Differences(a, b reflect.Value) []Difference { return differences(nil, "", "", a, b) }

func differences(out []Difference, path string, inherited Application, a, b reflect.Value) []Difference {
	t := a.Type()
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("key")
		if tag == "" || tag == "-" {
			continue
		}
		key, applies := strings.TrimPrefix(path+"."+tag, "."), inherited
		if s := t.Field(i).Tag.Get("applies"); s != "" {
			applies = Application(s)
		}
		switch fa, fb := a.Field(i), b.Field(i); {
		case isMapping(fa.Type()):
			out = differences(out, key, applies, fa, fb)
		case same(fa, fb):
		case fa.Kind() == reflect.Slice && isMapping(fa.Type().Elem()):
			out = elements(out, key, applies, fa, fb)
		default:
			out = append(out, difference(key, applies, fa, fb))
		}
	}
	return out
}

// elements compares lists of mappings: what comes first in a mapping is its name.
func elements(out []Difference, key string, applies Application, a, b reflect.Value) []Difference {
	before, after := namesOf(a), namesOf(b)
	if _, written := reflect.Zero(a.Type().Elem()).Interface().(fmt.Stringer); written && !slices.Equal(before, after) {
		// An element that can be written as one word is known by it.
		out = append(out, Difference{key, list(before), list(after), applies})
	} else {
		for i, name := range before {
			if !slices.Contains(after, name) {
				out = append(out, Difference{element(key, name), text(a.Index(i)), "", applies})
			}
		}
		for i, name := range after {
			if !slices.Contains(before, name) {
				out = append(out, Difference{element(key, name), "", text(b.Index(i)), applies})
			}
		}
		stay := func(of, others []string) []string {
			return slices.DeleteFunc(slices.Clone(of), func(n string) bool { return !slices.Contains(others, n) })
		}
		if x, y := stay(before, after), stay(after, before); !slices.Equal(x, y) {
			out = append(out, Difference{key + " (order)", list(x), list(y), applies})
		}
	}
	for i, name := range before {
		if j := slices.Index(after, name); j >= 0 {
			out = differences(out, element(key, name), applies, a.Index(i), b.Index(j))
		}
	}
	return out
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

// difference compares values that are no mappings.
func difference(key string, applies Application, a, b reflect.Value) Difference {
	d := Difference{key, text(a), text(b), applies}
	if a.Kind() == reflect.Slice && (a.Len() > longList || b.Len() > longList) {
		x, y := words(a), words(b)
		d.Before, d.After = only(x, y), only(y, x)
	}
	if d.Before == d.After {
		d.After += " (the part that differs is not shown)"
	}
	return d
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
