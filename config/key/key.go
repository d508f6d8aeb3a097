// Package key reflects on the struct that a configuration is parsed into. The tag key of a field is the name of its key, and the tag
// applies says when a change of it takes effect. Fields without the tag key, or with "-", are no keys.
package key

import (
	"reflect"
	"strings"
)

// Application says when a changed value takes effect.
type Application string

// Applications.
const (
	// Live takes effect at a reload.
	Live Application = "live"
	// Lists takes effect at a reload, which reads all lists again for it. A reload that changes no such key keeps the policy it has,
	// if the contents of the lists are the same.
	Lists Application = "lists"
	// Restart takes effect at the next start.
	Restart Application = "restart"
)

// Each calls f with the dotted path of each key of a struct, in the order of its fields, and with its application. A key without the
// tag applies has the application of the key that it is inside of.
func Each(t reflect.Type, f func(path string, a Application)) { each("", "", t, f) }

func each(path string, inherited Application, t reflect.Type, f func(path string, a Application)) {
	for i := range t.NumField() {
		field := t.Field(i)
		tag := field.Tag.Get("key")
		if tag == "" || tag == "-" {
			continue
		}
		key, applies := strings.TrimPrefix(path+"."+tag, "."), inherited
		if a := field.Tag.Get("applies"); a != "" {
			applies = Application(a)
		}
		f(key, applies)
		switch ft := field.Type; {
		case isMapping(ft):
			each(key, applies, ft, f)
		case ft.Kind() == reflect.Slice && isMapping(ft.Elem()):
			each(key+"[]", applies, ft.Elem(), f)
		}
	}
}

// isMapping reports whether t is a struct with keys.
func isMapping(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("key") != "" {
			return true
		}
	}
	return false
}

// Changed returns the dotted paths of the keys whose values differ between two structs of the same type, in the order of the fields. A
// list of mappings is one value.
func Changed(a, b reflect.Value) []string { return changed(nil, "", a, b) }

func changed(keys []string, path string, a, b reflect.Value) []string {
	t := a.Type()
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("key")
		if tag == "" || tag == "-" {
			continue
		}
		key := strings.TrimPrefix(path+"."+tag, ".")
		switch fa, fb := a.Field(i), b.Field(i); {
		case isMapping(fa.Type()):
			keys = changed(keys, key, fa, fb)
		case !same(fa, fb):
			keys = append(keys, key)
		}
	}
	return keys
}

// same compares values: of mappings only the keys, and of lists nil equals empty.
func same(a, b reflect.Value) bool {
	switch {
	case isMapping(a.Type()):
		return len(changed(nil, "", a, b)) == 0
	case a.Kind() != reflect.Slice:
		return reflect.DeepEqual(a.Interface(), b.Interface())
	case a.Len() != b.Len():
		return false
	}
	for i := range a.Len() {
		if !same(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}
