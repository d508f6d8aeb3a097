package config

import (
	"reflect"
	"strings"
)

// Application says when a changed value takes effect. The tag applies of a field of the configuration holds it.
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

// Keys returns the dotted path of every key that a configuration file may have, such as "cache.max_bytes" or "bans[].title.en", in the
// order of the documentation.
func Keys() []string {
	var out []string
	eachKey("", "", reflect.TypeFor[Config](), func(path string, _ Application) { out = append(out, path) })
	return out
}

// Applies returns when a change of one of Keys takes effect. It is empty for a section, whose keys each have their own, and for what is no
// key. A key inside a list of mappings, such as bans, has that of the list, which changes as a whole.
func Applies(key string) Application {
	var out Application
	eachKey("", "", reflect.TypeFor[Config](), func(path string, a Application) {
		if path == key {
			out = a
		}
	})
	return out
}

// eachKey calls f with each key of a mapping, which is at path, and with when its changes take effect. A key that does not say so has
// that of the mapping.
func eachKey(path string, inherited Application, t reflect.Type, f func(path string, a Application)) {
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
		case keyed(ft):
			eachKey(key, applies, ft, f)
		case ft.Kind() == reflect.Slice && keyed(ft.Elem()):
			eachKey(key+"[]", applies, ft.Elem(), f)
		}
	}
}

// keyed reports whether t is a mapping of the configuration file.
func keyed(t reflect.Type) bool {
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

// Changed returns the dotted paths of the keys whose values differ between two configurations, in the order of the documentation. A list
// of mappings, such as bans, is one value. Line numbers and warnings are not compared.
func Changed(before, after *Config) []string {
	return changed(nil, "", reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
}

func changed(keys []string, path string, a, b reflect.Value) []string {
	t := a.Type()
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("key")
		if tag == "" || tag == "-" {
			continue
		}
		key := strings.TrimPrefix(path+"."+tag, ".")
		switch fa, fb := a.Field(i), b.Field(i); {
		case keyed(fa.Type()):
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
	case keyed(a.Type()):
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
