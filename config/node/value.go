// Package node reads YAML as values that know where they are written, so that whatever turns out wrong with one is reported with its line.
//
// The caller takes the members of a mapping one by one, each with a [Parse] that says what may stand there: [Set] and [Mapping.Section]. Problems
// are collected, never returned early. What nobody asked for is an unknown key. The size of the text, the number of values after aliases
// and the number of problems are bounded, so that no text can do harm.
package node

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxValues bounds how many values one file may have after its aliases are followed. A value takes two characters at least, so that
// only a file whose aliases multiply can reach it.
const maxValues = MaxSize / 2

// Document is a text that is being read, and what was found wrong with it.
type Document struct {
	file     string
	root     Value
	problems Problems
	warnings []Problem
	more     bool // there were problems beyond maxProblems
	values   int  // values read, for maxValues
	exceeded bool // they would have been too many

	// ids are the names that objects took, by kind, with the line where each did.
	ids map[string]map[string]int
	// finish are the checks that need the whole document.
	finish []func()
	// known are the keys that were asked for, with [] for a place in a list.
	known map[string]bool
}

// Open reads text as YAML. The name stands for the file in messages. The error, if any, is Problems.
func Open(name string, text []byte) (*Document, error) {
	root, problem := parseText(name, text)
	if problem != nil {
		return nil, Problems{*problem}
	}
	d := &Document{file: name, ids: map[string]map[string]int{}, known: map[string]bool{}}
	d.root = Value{d: d, n: root, line: max(root.Line, 1), index: -1}
	return d, nil
}

// Root is the outermost mapping.
func (d *Document) Root() *Mapping { return d.root.Mapping() }

// Close makes the checks that were put off with Finally and returns the warnings, in the order of the lines. The error, if any, is
// Problems.
func (d *Document) Close() ([]Problem, error) {
	for _, check := range d.finish {
		check()
	}
	if len(d.problems) == 0 {
		return inOrder(d.warnings), nil
	}
	problems := Problems(inOrder(d.problems))
	if d.more {
		problems = append(problems, Problem{File: d.file, Message: "there are more problems", Remedy: "mend these first"})
	}
	return nil, problems
}

// Known returns the dotted paths of all keys that were asked for, written or not, with [] for a place in a list.
func (d *Document) Known() []string { return slices.Sorted(maps.Keys(d.known)) }

// Value is what is written somewhere in a document.
type Value struct {
	d     *Document
	n     *yaml.Node
	line  int
	key   string // path of the value, or of the list that holds it
	index int    // place in the list, or -1
}

// Line is where the value is written, from 1; for a member of a mapping that is itself a mapping or a list, the line of its key.
func (v Value) Line() int { return v.line }

// Finally puts a check off until the document is closed: references and settings that must fit one another.
func (v Value) Finally(check func()) { v.d.finish = append(v.d.finish, check) }

// path is the value's dotted path.
func (v Value) path() string {
	if v.index < 0 {
		return v.key
	}
	return v.key + "[" + strconv.Itoa(v.index) + "]"
}

// child makes the value for a node below v; key is set for a mapping's member, index for a list's element.
func (v Value) child(n *yaml.Node, line int, key string, index int) Value {
	v.d.values++
	c := Value{d: v.d, n: n, line: line, key: v.path(), index: index}
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

// shape is a path without the places in lists: bans[].title for bans[3].title.
func shape(path string) string {
	digit := func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}
	if !strings.Contains(path, "[") {
		return path
	}
	return strings.Map(digit, path)
}

// null reports whether nothing is written where the value should be.
func (v Value) null() bool { return v.n.Kind == yaml.ScalarNode && v.n.ShortTag() == "!!null" }

// Problem records that v is wrong.
func (v Value) Problem(remedy, format string, args ...any) {
	v.d.problem(v.line, v.path(), remedy, format, args...)
}

// Warn records that v is legal but deserves a second look.
func (v Value) Warn(remedy, format string, args ...any) {
	p := Problem{File: v.d.file, Line: v.line, Key: v.path(), Message: fmt.Sprintf(format, args...), Remedy: remedy}
	v.d.warnings = append(v.d.warnings, p)
}

func (d *Document) problem(line int, key, remedy, format string, args ...any) {
	if d.full() {
		d.more = true
		return
	}
	p := Problem{File: d.file, Line: line, Key: key, Message: fmt.Sprintf(format, args...), Remedy: remedy}
	d.problems = append(d.problems, p)
}

// Wrong records that v is not what is wanted, such as "a whole number".
func (v Value) Wrong(want, remedy string) { v.Problem(remedy, "%s is not %s", v.describe(), want) }

// describe names what is written, for messages.
func (v Value) describe() string {
	switch v.n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	if v.null() {
		return "an empty value"
	}
	return Quote(v.n.Value)
}

// Quote shows a piece of the file in a message; a long one is cut.
func Quote(s string) string {
	const longest = 80
	if runes := []rune(s); len(runes) > longest {
		s = string(runes[:longest]) + "..."
	}
	return strconv.Quote(s)
}

// Scalar gives the characters of a single value, whatever YAML would take them for.
func (v Value) Scalar() (string, bool) {
	return v.n.Value, v.n.Kind == yaml.ScalarNode && !v.null()
}

// full reports whether as many problems were found as are kept; the rest of the file is then not looked at.
func (d *Document) full() bool { return len(d.problems) >= maxProblems }

// bounded reports whether the values below v may be read: that is a question of their number, and of problems found already.
func (v Value) bounded() bool {
	if v.d.full() {
		v.d.more = true
		return false
	}
	if v.d.values+len(v.n.Content) <= maxValues {
		return true
	}
	if !v.d.exceeded {
		v.Problem("write the values out, without aliases", "with its aliases followed the file has more than %d values", maxValues)
	}
	v.d.exceeded = true
	return false
}

// IsText reports whether YAML takes v for text, not for a number or another type.
func (v Value) IsText() bool { return v.n.Kind == yaml.ScalarNode && v.n.ShortTag() == "!!str" }

// IsMapping reports whether v is a mapping.
func (v Value) IsMapping() bool { return v.n.Kind == yaml.MappingNode }

// IDs returns the ids that objects of the kind took so far, sorted.
func (v Value) IDs(kind string) []string { return slices.Sorted(maps.Keys(v.d.ids[kind])) }

// Claim takes id for an object of the kind, once. It returns false, having said so, if another has it.
func (v Value) Claim(kind, id string) bool {
	if v.d.ids[kind] == nil {
		v.d.ids[kind] = map[string]int{}
	}
	if line, taken := v.d.ids[kind][id]; taken {
		v.Problem("give each its own id", "duplicate id %s (first on line %d)", Quote(id), line)
		return false
	}
	v.d.ids[kind][id] = v.line
	return true
}

// Mapping gives out the members of a node. What was never asked for is an unknown key.
type Mapping struct {
	Value
	got   map[string]Value
	order []*yaml.Node // keys, as written
	known []string     // keys asked for
	shape string       // path without places in lists
	sound bool         // v is a mapping: if not, that has been said, and nothing is missed in it
}

// Mapping opens v. It is also right for an empty value, when all its keys are commented out.
func (v Value) Mapping() *Mapping {
	m := &Mapping{Value: v, got: map[string]Value{}, shape: shape(v.path())}
	if v.null() {
		m.sound = true
		return m
	}
	if v.n.Kind != yaml.MappingNode {
		v.Wrong("a mapping", "write keys and values below it, indented")
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
			v.d.problem(k.Line, v.path(), "write a plain word and a colon", "a key is not a word")
			continue
		}
		if k.ShortTag() == "!!merge" {
			v.d.problem(k.Line, join(v.path(), "<<"), "write the keys out", "merge keys are not supported")
			continue
		}
		if first, dup := lines[k.Value]; dup {
			v.d.problem(k.Line, join(v.path(), k.Value), "remove one of them", "duplicate key (first on line %d)", first)
			continue
		}
		lines[k.Value] = k.Line
		m.order = append(m.order, k)
		m.got[k.Value] = v.child(v.n.Content[i+1], k.Line, k.Value, -1)
	}
	return m
}

// take gives the member called key, if it is written.
func (m *Mapping) take(key string) (Value, bool) {
	m.known = append(m.known, key)
	m.d.known[join(m.shape, key)] = true
	v, ok := m.got[key]
	return v, ok
}

// At is the value to blame when key does not fit its neighbours: the member, or the mapping if the member is a default.
func (m *Mapping) At(key string) Value {
	if v, ok := m.got[key]; ok {
		return v
	}
	v := m.Value
	v.key, v.index = join(m.path(), key), -1
	return v
}

// Has reports whether key is written.
func (m *Mapping) Has(key string) bool {
	_, ok := m.got[key]
	return ok
}

// Require complains if key is not written.
func (m *Mapping) Require(key, remedy string) {
	if m.sound && !m.Has(key) {
		m.At(key).Problem(remedy, "missing")
	}
}

// Sound reports whether the value is a mapping; if it is not, that has been said, and nothing is missing in it.
func (m *Mapping) Sound() bool { return m.sound }

// Section reads the mapping below key, if it is written; defaults stay where nothing is.
func (m *Mapping) Section(key string, read func(*Mapping)) {
	v, ok := m.take(key)
	if !ok {
		return
	}
	s := v.Mapping()
	read(s)
	s.Done()
}

// Done complains about the keys that nobody asked for.
func (m *Mapping) Done() {
	for _, k := range m.order {
		if slices.Contains(m.known, k.Value) {
			continue
		}
		if m.d.full() {
			m.d.more = true
			return
		}
		remedy := Suggest(k.Value, m.known)
		if near, _, ok := strings.Cut(remedy, "? "); ok {
			remedy = near + "?"
		}
		m.d.problem(k.Line, join(m.path(), k.Value), remedy, "unknown key")
	}
}
