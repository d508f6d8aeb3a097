package config

import (
	"reflect"

	"rideau/config/complete"
	"rideau/config/key"
	"rideau/config/node"
)

// Application says when a changed value takes effect: see [Live], [Lists] and [Restart].
type Application = key.Application

// Applications.
const (
	Live    = key.Live    // at a reload
	Lists   = key.Lists   // at a reload, which reads all lists again for it
	Restart = key.Restart // at the next start
)

// Keys returns the dotted path of every key that a configuration file may have, such as "cache.max_bytes" or "bans[].title.en", in the
// order of the documentation.
func Keys() []string {
	var out []string
	key.Each(reflect.TypeFor[Config](), func(path string, _ Application) { out = append(out, path) })
	return out
}

// Applies returns when a change of one of Keys takes effect. It is empty for a section, whose keys each have their own, and for what is
// not a key. A key inside a list of mappings, such as bans, has that of the list, which changes as a whole.
func Applies(path string) Application {
	var out Application
	key.Each(reflect.TypeFor[Config](), func(p string, a Application) {
		if p == path {
			out = a
		}
	})
	return out
}

// Changed returns the dotted paths of the keys whose values differ between two configurations, in the order of the documentation. A list
// of mappings, such as bans, is one value. Line numbers and warnings are not compared.
func Changed(before, after *Config) []string {
	return key.Changed(reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
}

// Difference is a key whose value differs between two configurations.
type Difference = key.Difference

// Differences returns what differs between two configurations by key, as people write it, in the order of the documentation. Elements of
// lists of mappings are compared by their id. Secrets in URLs are left out. The lines are those of after's text.
func Differences(before, after *Config) []Difference {
	return key.Differences(reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem(), node.Lines(after.text))
}

// EndMark is the last line of a complete file: see package complete.
const EndMark = complete.EndMark

// CutFrom returns a problem if c looks like before without its end.
func (c *Config) CutFrom(before *Config) *Problem {
	var keys []string
	for _, d := range Differences(before, c) {
		keys = append(keys, d.Key)
	}
	return complete.CutFrom(c.File, c.text, before.text, keys)
}

// Line is the line of a dotted path of keys in the file, such as cache.max_bytes or bans[3].mode; of a path that it does not have, that of the section
// that would have it; 0 if there is none.
func (c *Config) Line(path string) int { return node.Lines(c.text)(path) }
