// Package node reads YAML as values that know their line, so that a problem with a value is reported with its line.
//
// The caller reads the members of a mapping one by one, each with a [Parse] function: see [Set] and [Mapping.Section]. Problems are
// collected, not returned early. A key that the caller did not ask for is unknown. The size of the text, the number of values after aliases
// are followed, and the number of problems are limited, so that no text can do harm.
package node

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxValues is the number of values that one file may have after its aliases are followed. A value has at least two characters, so only a
// file whose aliases multiply can reach it.
const maxValues = MaxSize / 2

// Document is a text that is being read, and the problems with it.
type Document struct {
	file     string
	root     Value
	problems Problems
	warnings []Problem
	more     bool // there were problems beyond maxProblems
	values   int  // values read, for maxValues
	exceeded bool // they would have been too many

	// ids are the ids of objects, by kind, with their lines.
	ids map[string]map[string]int
	// finish are the checks that need the whole document.
	finish []func()
	// known are the keys that were asked for, with [] for an index of a list.
	known map[string]bool
}

// Open reads text as YAML. Messages call the file name. The error, if any, is Problems.
func Open(name string, text []byte) (*Document, error) {
	root, problem := parseText(name, text)
	if problem != nil {
		return nil, Problems{*problem}
	}
	d := &Document{file: name, ids: map[string]map[string]int{}, known: map[string]bool{}}
	d.root = Value{d: d, n: root, line: max(root.Line, 1), index: -1}
	return d, nil
}

// Root returns the outermost mapping.
func (d *Document) Root() *Mapping { return d.root.Mapping() }

// Close makes the checks that Finally postponed, and returns the warnings in the order of the lines. The error, if any, is Problems.
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

// Known returns the dotted paths of all keys that were asked for, whether or not the text has them, with [] for an index of a list.
func (d *Document) Known() []string { return slices.Sorted(maps.Keys(d.known)) }

// Value is a value of a document, and where it is written.
type Value struct {
	d     *Document
	n     *yaml.Node
	line  int
	key   string // path of the value, or of the list that holds it
	index int    // place in the list, or -1
}

// Line returns the line of the value, from 1. For a member of a mapping that is itself a mapping or a list, it is the line of its key.
func (v Value) Line() int { return v.line }

// Finally postpones a check until the document is closed. It is for references, and for settings that must fit one another.
func (v Value) Finally(check func()) { v.d.finish = append(v.d.finish, check) }

// path returns the value's dotted path.
func (v Value) path() string {
	if v.index < 0 {
		return v.key
	}
	return v.key + "[" + strconv.Itoa(v.index) + "]"
}

// child returns the value of a node below v. key is set for a mapping's member, index for a list's element.
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
	if i := strings.IndexFunc(c.n.Value, isControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(c.n.Value[i:])
		c.Problem("remove it", "%s has the control character %U", Quote(c.n.Value), r)
	}
	return c
}

// isControl reports whether a character would change what a terminal prints around it. The text of a file has none, but escapes such as
// "\e" do. Line ends and tabs are for those who read the value.
func isControl(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == 0x2028 || r == 0x2029
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// shape returns a path without the indexes of lists: bans[].title for bans[3].title.
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

// null reports whether the value is empty.
func (v Value) null() bool { return v.n.Kind == yaml.ScalarNode && v.n.ShortTag() == "!!null" }

// Problem records that v is wrong.
func (v Value) Problem(remedy, format string, args ...any) {
	v.d.problem(v.line, v.path(), remedy, format, args...)
}

// Warn records that v is valid but probably not meant.
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

// Wrong records that v is not what is expected, such as "a whole number".
func (v Value) Wrong(want, remedy string) { v.Problem(remedy, "%s is not %s", v.describe(), want) }

// describe returns a description of v for messages.
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

// Quote quotes text of the file for a message. It cuts long text.
func Quote(s string) string {
	const longest = 80
	if runes := []rune(s); len(runes) > longest {
		s = string(runes[:longest]) + "..."
	}
	return strconv.Quote(s)
}

// Scalar returns the characters of a single value, whatever type it has in YAML.
func (v Value) Scalar() (string, bool) {
	return v.n.Value, v.n.Kind == yaml.ScalarNode && !v.null()
}

// full reports whether there are as many problems as are kept. The rest of the file is then not read.
func (d *Document) full() bool { return len(d.problems) >= maxProblems }

// bounded reports whether the values below v may be read: not if there are too many of them, or too many problems.
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

// IsText reports whether v is text in YAML, not a number or another type.
func (v Value) IsText() bool { return v.n.Kind == yaml.ScalarNode && v.n.ShortTag() == "!!str" }

// IsMapping reports whether v is a mapping.
func (v Value) IsMapping() bool { return v.n.Kind == yaml.MappingNode }

// IDs returns the ids of the objects of a kind so far, sorted.
func (v Value) IDs(kind string) []string { return slices.Sorted(maps.Keys(v.d.ids[kind])) }

// Claim registers the id of an object of a kind. If another object has it, Claim reports that and returns false.
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

// Mapping is a mapping whose members are read one by one. A key that was never asked for is unknown.
type Mapping struct {
	Value
	got   map[string]Value
	order []*yaml.Node // keys, as written
	known []string     // keys asked for
	shape string       // path without indexes of lists
	sound bool         // v is a mapping; if not, that is reported, and no key of it is missing
}

// Mapping returns v as a mapping. An empty value is one too: all its keys are commented out.
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
		if strings.ContainsFunc(k.Value, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			v.d.problem(k.Line, v.path(), "remove them", "the key %s has characters that cannot be printed", Quote(k.Value))
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

// member returns the member called key, if it exists.
func (m *Mapping) member(key string) (Value, bool) {
	m.known = append(m.known, key)
	m.d.known[join(m.shape, key)] = true
	v, ok := m.got[key]
	return v, ok
}

// At returns the value to which a problem with key belongs: the member, or the mapping if the member does not exist.
func (m *Mapping) At(key string) Value {
	if v, ok := m.got[key]; ok {
		return v
	}
	v := m.Value
	v.key, v.index = join(m.path(), key), -1
	return v
}

// Has reports whether the mapping has key.
func (m *Mapping) Has(key string) bool {
	_, ok := m.got[key]
	return ok
}

// Require reports a problem if the mapping does not have key.
func (m *Mapping) Require(key, remedy string) {
	if m.sound && !m.Has(key) {
		m.At(key).Problem(remedy, "missing")
	}
}

// Sound reports whether the value is a mapping. If it is not, that is reported, and no key of it is missing.
func (m *Mapping) Sound() bool { return m.sound }

// Section reads the mapping that key has, if it exists. What is missing keeps its default.
func (m *Mapping) Section(key string, read func(*Mapping)) {
	v, ok := m.member(key)
	if !ok {
		return
	}
	s := v.Mapping()
	read(s)
	s.Done()
}

// Done reports the keys that were not asked for.
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
