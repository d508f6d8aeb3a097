package ops

import "fmt"

// Change is one thing that differs between two configurations, as people write it. A value that only one of them has is empty in the
// other.
type Change struct {
	File    string `json:"file"`
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
	return oneLine(fmt.Sprintf("%s: %s: %s", c.File, c.Key, what))
}
