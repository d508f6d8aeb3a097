// Package complete finds out whether the text of a configuration lost its end, for example when an editor or a copy crashed.
package complete

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"rideau/config/node"
)

// EndMark is the last line of a complete file. A file that has the line headMark is refused without it.
const EndMark = "# rideau: end of configuration"

// headMark begins the line that says that the file ends with EndMark. DefaultText and ExampleText have both.
const headMark = `# A complete file ends with the line "` + EndMark + `"`

// Check refuses a text that says that it ends with EndMark, and does not have that line: its end was lost, for example when an editor or
// a copy crashed. Every text that a person writes may leave out both lines.
func Check(name string, text []byte) (warnings []node.Problem, err error) {
	head, end, last, after := false, false, 0, 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		last++
		switch line = bytes.TrimSpace(line); {
		case bytes.HasPrefix(line, []byte(headMark)):
			head = true
		case string(line) == EndMark:
			end, after = true, 0
		case len(line) > 0 && after == 0:
			after = last
		}
	}
	switch {
	case head && !end:
		return nil, node.Problems{{File: name, Line: max(last, 1), Message: fmt.Sprintf("the file is cut off: its beginning says that it ends with the line %q, and that line is missing", EndMark),
			Remedy: "copy or save the whole file again; if it is whole, write that line at its end"}}
	case head && after > 0:
		warnings = append(warnings, node.Problem{File: name, Line: after, Message: fmt.Sprintf("this is below the line %q: it would not be noticed if it were cut off", EndMark),
			Remedy: "move that line to the end of the file"})
	}
	return warnings, nil
}

// Unended warns of a text that does not end with a line feed, as complete files do.
func Unended(name string, text []byte) []node.Problem {
	if len(text) == 0 || bytes.HasSuffix(text, []byte("\n")) || bytes.HasSuffix(text, []byte(EndMark)) {
		return nil
	}
	return []node.Problem{{File: name, Line: 1 + bytes.Count(text, []byte("\n")), Message: "the file ends in the middle of a line: it may be cut off",
		Remedy: "end the last line with a line feed"}}
}

// CutFrom returns a problem if a text is the beginning of another one, and it ends inside of a line or inside of a group, a list, a ban or an
// exception that reads otherwise for it: a ban may so be for fewer clients, or an exception for more. differs are the keys whose values
// differ. It returns nil if the text ends where a person may have ended it.
func CutFrom(name string, text, other []byte, differs []string) *node.Problem {
	rest, is := bytes.CutPrefix(other, text)
	if !is || len(bytes.TrimSpace(rest)) == 0 || len(differs) == 0 {
		return nil
	}
	where := "in the middle of a line"
	if bytes.HasSuffix(text, []byte("\n")) || rest[0] == '\n' || rest[0] == '\r' {
		i := slices.IndexFunc(differs, func(k string) bool { return insideOf(k, "groups", "lists", "bans", "exceptions") })
		if i < 0 {
			return nil
		}
		where = "inside of what is about " + differs[i]
	}
	return &node.Problem{File: name, Line: bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n")) + 1,
		Message: "the file is the beginning of the one that serves, and it ends " + where + ": it looks cut off",
		Remedy:  fmt.Sprintf("copy or save the whole file again; if that is meant, write the line %q at its end, or reload with force=all", EndMark)}
}

// insideOf reports whether a key is inside of an element of one of the lists.
func insideOf(key string, lists ...string) bool {
	return slices.ContainsFunc(lists, func(l string) bool { return strings.HasPrefix(key, l+"[") && strings.Contains(key, "].") })
}
