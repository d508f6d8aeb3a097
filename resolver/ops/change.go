package ops

import "fmt"

// Change is one thing that differs between two configurations, as people write it. A value that only one of them has is empty in the
// other.
type Change struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // of the key in the file, or of the section that would have it; 0 if it is not known
	Key     string `json:"key"`
	Before  string `json:"before"`
	After   string `json:"after"`
	Applies string `json:"applies"` // live, lists, or restart
}

// String is one line for people.
func (c Change) String() string {
	what := fmt.Sprintf("%s, was %s", c.After, c.Before)
	switch {
	case c.Before == "":
		what = "added: " + c.After
	case c.After == "":
		what = "removed; it was " + c.Before
	}
	if c.Applies == "restart" {
		what += " (at the next start)"
	}
	where := c.File
	if c.Line > 0 {
		where += fmt.Sprintf(":%d", c.Line)
	}
	return oneLine(fmt.Sprintf("%s: %s: %s", where, c.Key, what))
}
