package blocklists

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
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
	SHA256   [32]byte
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

// Fingerprint is a digest of the lists' digests in order. Two Snapshots
// with the same one hold the same names.
func (s *Snapshot) Fingerprint() string {
	var b strings.Builder
	for i := range s.lists {
		fmt.Fprintf(&b, "%x\n", s.lists[i].SHA256)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(b.String())))
}
