package config

import (
	"reflect"
	"strings"
)

// Keys returns the dotted path of every key that a configuration file may have, such as "cache.max_bytes" or "bans[].title.en", in the
// order of the documentation.
func Keys() []string { return keysOf(nil, "", reflect.TypeFor[Config]()) }

func keysOf(keys []string, path string, t reflect.Type) []string {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("key")
		if tag == "" || tag == "-" {
			continue
		}
		key := strings.TrimPrefix(path+"."+tag, ".")
		keys = append(keys, key)
		switch ft := f.Type; {
		case keyed(ft):
			keys = keysOf(keys, key, ft)
		case ft.Kind() == reflect.Slice && keyed(ft.Elem()):
			keys = keysOf(keys, key+"[]", ft.Elem())
		}
	}
	return keys
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

// Changed returns the dotted keys whose values differ between two configurations, in the order of the documentation. A list of mappings,
// such as bans, counts as one value. Lines and warnings do not count.
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

// same compares values; of mappings only what the file can say, and of lists nil is as good as empty.
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
