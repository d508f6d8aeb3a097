package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems is the number of problems of one file that are kept, so that a large list of bad names cannot fill memory or a terminal.
const maxProblems = 1000

// Problem is an error or a warning about one place of a configuration file.
type Problem struct {
	File    string `json:"file"`             // File is the name given to Parse, or the path given to Load.
	Line    int    `json:"line"`             // Line counts from 1; it is 0 for the file as a whole.
	Key     string `json:"key,omitempty"`    // Key is the dotted path, such as bans[0].action; empty when the text is not YAML.
	Message string `json:"message"`          // Message says what is wrong.
	Remedy  string `json:"remedy,omitempty"` // Remedy says what to write instead.
}

// String returns the problem on one line: file:line: key: message; remedy.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	b.WriteString(": " + p.Message)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems is the error of a configuration that is not accepted: everything that is wrong with it, in the order of the lines.
type Problems []Problem

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// inOrder sorts by line; problems of one line keep the order in which they were found.
func inOrder(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return problems
}
