package node

import (
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// Lines returns a function that finds the line of a dotted path in a text that [Open] accepts, such as cache.max_bytes or bans[3].mode. For
// a path that the text does not have, it is the line of the section or element that would have it; 0 if there is none. The text is parsed
// at the first call of the function, which is safe for concurrent use. The text must not be written.
func Lines(text []byte) func(path string) int {
	root := sync.OnceValue(func() *yaml.Node {
		n, problem := parseText("", text)
		if problem != nil {
			return nil
		}
		return n
	})
	return func(path string) int {
		n, line := root(), 0
		for step := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
			next, at := below(n, step)
			if next == nil {
				break
			}
			n, line = next, at
		}
		return line
	}
}

// below returns the member or the element of n that a step of a path names, and its line; nil if there is none.
func below(n *yaml.Node, step string) (*yaml.Node, int) {
	if n == nil {
		return nil, 0
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1], n.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
			return n.Content[i], n.Content[i].Line
		}
	}
	return nil, 0
}
