package blocklists

import (
	"slices"
	"time"

	"rideau/blocklists/format"
	"rideau/blocklists/input"
)

// ListInfo is what is known about a list that was read.
type ListInfo struct {
	ID      string
	Source  string
	Entries int
	Wide    int // the entries that cover names below theirs
	Skipped int
	// Format is how it was read, NotDNS how many of its lines are about
	// something else than names, and Reasons why lines were skipped.
	Format   format.Format
	NotDNS   int
	Reasons  []format.Reason
	SHA256   [32]byte  // of the octets
	Digest   input.Sum // of the entries
	LoadedAt time.Time // when its content was last read and found good
	Serial   input.Serial
	Included []string // the files that a zone includes, by the names it gives them, in order
	Options  string   // from [input.List.Options]: whether the counts of two versions compare
}

// Lists are the lists that were read, by index. They must not be written.
func (s *Snapshot) Lists() []ListInfo { return s.lists }

// listIndex is the index of the list with that id; -1 if there is none.
func (s *Snapshot) listIndex(id string) int {
	return slices.IndexFunc(s.lists, func(l ListInfo) bool { return l.ID == id })
}
