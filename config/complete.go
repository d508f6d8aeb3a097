package config

import (
	"bytes"
	"fmt"
)

// EndMark is the last line of a complete file. A file that has the line headMark is refused without it.
const EndMark = "# rideau: end of configuration"

// headMark begins the line that says that the file ends with EndMark. DefaultText and ExampleText have both.
const headMark = `# A complete file ends with the line "` + EndMark + `"`

// checkEnd refuses a text that says that it ends with EndMark, and does not have that line: its end was lost, for example when an editor or
// a copy crashed. Every text that a person writes may leave out both lines.
func checkEnd(name string, text []byte) (warnings []Problem, err error) {
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
		return nil, Problems{{File: name, Line: max(last, 1), Message: fmt.Sprintf("the file is cut off: its beginning says that it ends with the line %q, and that line is missing", EndMark),
			Remedy: "copy or save the whole file again; if it is whole, write that line at its end"}}
	case head && after > 0:
		warnings = append(warnings, Problem{File: name, Line: after, Message: fmt.Sprintf("this is below the line %q: it would not be noticed if it were cut off", EndMark),
			Remedy: "move that line to the end of the file"})
	}
	return warnings, nil
}

// unended warns of a text that does not end with a line feed, as complete files do.
func unended(name string, text []byte) []Problem {
	if len(text) == 0 || bytes.HasSuffix(text, []byte("\n")) || bytes.HasSuffix(text, []byte(EndMark)) {
		return nil
	}
	return []Problem{{File: name, Line: 1 + bytes.Count(text, []byte("\n")), Message: "the file ends in the middle of a line: it may be cut off",
		Remedy: "end the last line with a line feed"}}
}
