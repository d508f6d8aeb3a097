package input

import "slices"

// Forced are the ids of the lists and the bans of which the operator says that the guards against mistakes must let them through. [ForceAll] stands
// for all.
type Forced []string

// ForceAll is the id that stands for all lists and bans.
const ForceAll = "all"

// Has reports whether the operator has forced a list or a ban.
func (f Forced) Has(id string) bool { return slices.Contains(f, id) || slices.Contains(f, ForceAll) }

// ForcedList is a list that was taken against its guards.
type ForcedList struct {
	List   string
	Source string
	Before int // entries of the version before; 0 if that is not known
	After  int
	Why    error // what a guard says
}
