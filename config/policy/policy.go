// Package policy reads the sections of a configuration that say what is blocked: lists, bans and exceptions. What it returns is plain data.
package policy

import (
	"rideau/config/node"
)

// Groups that are built in: no other group may have their names. MaxGroups is the number of groups that a configuration may have.
const (
	GroupAll      = "all"      // every client
	GroupEnforced = "enforced" // the groups for which another ban is enforced
	MaxGroups     = 1024
)

// Sections are the sections, which [Sections.Read] fills in. The pointers are not nil.
type Sections struct {
	Lists      *[]List
	Bans       *[]Ban
	Exceptions *[]Exception
	// Removed are the ids of bans that the file no longer has, and of lists that its bans no longer have, on purpose.
	Removed *[]string
	// MaxShrink and MaxSkipped are for lists that do not say otherwise.
	MaxShrink, MaxSkipped float64
}

// Read reads the keys lists, bans, exceptions and removed of a file. The ids of groups have to be read before.
func (s *Sections) Read(m *node.Mapping) {
	node.Set(m, "lists", s.Lists, node.List(0, MaxLists, s.readList))
	node.Set(m, "bans", s.Bans, node.List(0, MaxBans, s.readBan))
	node.Set(m, "exceptions", s.Exceptions, node.List(0, MaxExceptions, s.readException))
	node.Set(m, "removed", s.Removed, node.List(0, MaxBans+MaxLists, node.Distinct(s.readRemoved)))
}

// Enforced reports whether one of the bans is enforced for a group, whatever its dates.
func (s *Sections) Enforced() bool {
	for _, b := range *s.Bans {
		if b.Mode == ModeEnforce {
			return true
		}
		for _, g := range b.Modes {
			if g.Mode == ModeEnforce {
				return true
			}
		}
	}
	return false
}
