package ops

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize/english"
)

// Forced is a list or a ban that a reload took by force: a guard against mistakes would have refused it.
type Forced struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // list or ban
	// Before and After are the entries of a list. Before is 0 if that is not known.
	Before int    `json:"before,omitempty"`
	After  int    `json:"after,omitempty"`
	Why    string `json:"why"` // what the guard says
}

// String is one line for people.
func (f Forced) String() string {
	why, _, _ := strings.Cut(f.Why, "; if that is meant")
	if f.Kind == "ban" {
		return oneLine(fmt.Sprintf("ban %s: forced: %s", f.ID, why))
	}
	return oneLine(fmt.Sprintf("list %s: forced: %s now, %d before (%s)", f.ID, english.Plural(f.After, "entry", ""), f.Before, why))
}

// forcedIDs checks the values of the parameter force: ids of lists and bans.
func forcedIDs(values []string) ([]string, error) {
	for _, v := range values {
		switch strings.ToLower(v) {
		case "", "true", "false":
			return nil, errors.New("force needs the id of a list or a ban; send force=ID, once for each, or force=all for all")
		}
	}
	return values, nil
}
