package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxValues bounds how many values one file may have after its aliases are followed. A value takes two characters at least, so that
// only a file whose aliases multiply can reach it.
const maxValues = MaxSize / 2

// reader walks the nodes of one file and collects what is wrong with them.
type reader struct {
	file     string
	problems Problems
	warnings []Problem
	more     bool // there were problems beyond maxProblems
	values   int  // values read, for maxValues
	exceeded bool // they would have been too many

	// ids are the names that objects took, by kind, with the line where each did.
	ids map[string]map[string]int
	// finish are the checks that need the whole file: references and settings that must fit one another.
	finish []func(*Config)
	// asked, unless nil, records every key that is known.
	asked map[string]bool
}

// value is a node and where it stands.
type value struct {
	r     *reader
	n     *yaml.Node
	line  int
	key   string // path of the value, or of the list that holds it
	index int    // place in the list, or -1
}

// path is the value's dotted path.
func (v value) path() string {
	if v.index < 0 {
		return v.key
	}
	return v.key + "[" + strconv.Itoa(v.index) + "]"
}

// child makes the value for a node below v; key is set for a mapping's member, index for a list's element.
func (v value) child(n *yaml.Node, line int, key string, index int) value {
	v.r.values++
	c := value{r: v.r, n: n, line: line, key: v.path(), index: index}
	if index < 0 {
		c.key = join(c.key, key)
	}
	if n.Kind == yaml.AliasNode {
		c.n = n.Alias
	}
	if c.n.Kind == yaml.ScalarNode && !c.null() && n.Kind != yaml.AliasNode {
		c.line = n.Line
	}
	return c
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// null reports whether nothing is written where the value should be.
func (v value) null() bool { return v.n.Kind == yaml.ScalarNode && v.n.ShortTag() == "!!null" }

// problem records that v is wrong.
func (v value) problem(remedy, format string, args ...any) {
	v.r.problem(v.line, v.path(), remedy, format, args...)
}

// warn records that v is legal but deserves a second look.
func (v value) warn(remedy, format string, args ...any) {
	p := Problem{File: v.r.file, Line: v.line, Key: v.path(), Message: fmt.Sprintf(format, args...), Remedy: remedy}
	v.r.warnings = append(v.r.warnings, p)
}

func (r *reader) problem(line int, key, remedy, format string, args ...any) {
	if r.full() {
		r.more = true
		return
	}
	p := Problem{File: r.file, Line: line, Key: key, Message: fmt.Sprintf(format, args...), Remedy: remedy}
	r.problems = append(r.problems, p)
}

// wrong records that v is not what is wanted, such as "a whole number".
func (v value) wrong(want, remedy string) { v.problem(remedy, "%s is not %s", v.describe(), want) }

// describe names what is written, for messages.
func (v value) describe() string {
	switch v.n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	if v.null() {
		return "an empty value"
	}
	return quote(v.n.Value)
}

// quote shows a piece of the file in a message; a long one is cut.
func quote(s string) string {
	const longest = 80
	if runes := []rune(s); len(runes) > longest {
		s = string(runes[:longest]) + "..."
	}
	return strconv.Quote(s)
}

// scalar gives the characters of a single value, whatever YAML would take them for.
func (v value) scalar() (string, bool) {
	return v.n.Value, v.n.Kind == yaml.ScalarNode && !v.null()
}

// full reports whether as many problems were found as are kept; the rest of the file is then not looked at.
func (r *reader) full() bool { return len(r.problems) >= maxProblems }

// bounded reports whether the values below v may be read: that is a question of their number, and of problems found already.
func (v value) bounded() bool {
	if v.r.full() {
		v.r.more = true
		return false
	}
	if v.r.values+len(v.n.Content) <= maxValues {
		return true
	}
	if !v.r.exceeded {
		v.problem("write the values out, without aliases", "with its aliases followed the file has more than %d values", maxValues)
	}
	v.r.exceeded = true
	return false
}

// claim takes id for an object of the kind, once. It returns false, having said so, if another has it.
func (v value) claim(kind, id string) bool {
	if v.r.ids[kind] == nil {
		v.r.ids[kind] = map[string]int{}
	}
	if line, taken := v.r.ids[kind][id]; taken {
		v.problem("give each its own id", "duplicate id %s (first on line %d)", quote(id), line)
		return false
	}
	v.r.ids[kind][id] = v.line
	return true
}

// mapping gives out the members of a node. What was never asked for is an unknown key.
type mapping struct {
	value
	got   map[string]value
	order []*yaml.Node // keys, as written
	known []string     // keys asked for
	sound bool         // v is a mapping: if not, that has been said, and nothing is missed in it
}

// mapping opens v. It is also right for an empty value, when all its keys are commented out.
func (v value) mapping() *mapping {
	m := &mapping{value: v, got: map[string]value{}}
	if v.null() {
		m.sound = true
		return m
	}
	if v.n.Kind != yaml.MappingNode {
		v.wrong("a mapping", "write keys and values below it, indented")
		return m
	}
	if !v.bounded() {
		return m
	}
	m.sound = true
	lines := map[string]int{}
	for i := 0; i+1 < len(v.n.Content); i += 2 {
		k := v.n.Content[i]
		if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!null" {
			v.r.problem(k.Line, v.path(), "write a plain word and a colon", "a key is not a word")
			continue
		}
		if k.ShortTag() == "!!merge" {
			v.r.problem(k.Line, join(v.path(), "<<"), "write the keys out", "merge keys are not supported")
			continue
		}
		if first, dup := lines[k.Value]; dup {
			v.r.problem(k.Line, join(v.path(), k.Value), "remove one of them", "duplicate key (first on line %d)", first)
			continue
		}
		lines[k.Value] = k.Line
		m.order = append(m.order, k)
		m.got[k.Value] = v.child(v.n.Content[i+1], k.Line, k.Value, -1)
	}
	return m
}

// take gives the member called key, if it is written.
func (m *mapping) take(key string) (value, bool) {
	m.known = append(m.known, key)
	if m.r.asked != nil {
		m.r.asked[join(m.path(), key)] = true
	}
	v, ok := m.got[key]
	return v, ok
}

// at is the value to blame when key does not fit its neighbours: the member, or the mapping if the member is a default.
func (m *mapping) at(key string) value {
	if v, ok := m.got[key]; ok {
		return v
	}
	v := m.value
	v.key, v.index = join(m.path(), key), -1
	return v
}

// has reports whether key is written.
func (m *mapping) has(key string) bool {
	_, ok := m.got[key]
	return ok
}

// require complains if key is not written.
func (m *mapping) require(key, remedy string) {
	if m.sound && !m.has(key) {
		m.at(key).problem(remedy, "missing")
	}
}

// section reads the mapping below key, if it is written; defaults stay where nothing is.
func (m *mapping) section(key string, read func(*mapping)) {
	v, ok := m.take(key)
	if !ok {
		return
	}
	s := v.mapping()
	read(s)
	s.done()
}

// done complains about the keys that nobody asked for.
func (m *mapping) done() {
	for _, k := range m.order {
		if slices.Contains(m.known, k.Value) {
			continue
		}
		if m.r.full() {
			m.r.more = true
			return
		}
		remedy := suggest(k.Value, m.known)
		if near, _, ok := strings.Cut(remedy, "? "); ok {
			remedy = near + "?"
		}
		m.r.problem(k.Line, join(m.path(), k.Value), remedy, "unknown key")
	}
}
