// Package blocklists decides about names and addresses: which ban, if any,
// applies to a query or to the response to it.
//
// All policy is in one immutable [Snapshot]. Package compile makes it, off the serving
// path, and the server publishes it with one atomic pointer. A reader
// loads the pointer once for a query and uses nothing else. A Snapshot is never
// written after it was made, so it needs no lock and no reference count.
//
// One suffix trie holds the names of all lists. A node's value is the set of
// lists that name it, and a client group is a mask over lists, so that one
// walk answers for every list and every group, and its cost does not grow with either.
//
// The rule of precedence, carried out by the scope's decide method: an
// exception beats a ban; then the more specific name decides; then the order
// in which the bans are configured. A ban in monitor mode never hides one that is
// enforced. Policy zones decide, by rules of their own (see zone.go), about what no ban
// blocks: no zone lifts a ban. A ban on all names but those on its lists (allbut.go) decides
// after the others, and before zones.
//
// Entries that say more than a name or an address, as those of policy zones and
// of some adblock rules do, are in sets of rules beside the sets of lists. Only
// names that have such entries pay for them.
package blocklists

import (
	"time"

	"rideau/blocklists/group"
	"rideau/blocklists/internal/rule"
	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
	"rideau/resolver/wire"
)

// Snapshot is all policy at one instant. It is immutable and safe for any
// number of readers.
type Snapshot struct {
	generation uint64
	at         []time.Time // see At
	next       time.Time
	policy     Policy
	trie       *suffix.Trie
	values     []rule.Value // by the values of the trie and of the tables of addresses
	addrs      *prefix.Table
	hasAddrs   bool // addrs is not empty
	groups     *group.Table
	// What entries say beyond being listed; see package rule.
	rules        [][]rule.Rule
	types        []rule.TypeSet
	local        [][]LocalRecord
	triggers     [MaxLists]uint8 // by list, the triggers of its rules, as bits
	addressZones rule.Set        // the policy zones with triggers on addresses in answers
	zones        rule.Set        // the policy zones
	above        *suffix.Trie    // the names above those that bans on all names but these let through; may be nil
	guarded      rule.Set        // the lists from which names are protected
	clientRules  *prefix.Table

	scopes []scope // by GroupID; the last one is everyone's
	bans   []compiledBan
	lists  []ListInfo
	slots  []string
}

// compiledBan is a ban with what answers by it need.
type compiledBan struct {
	Ban
	slot       Slot
	options    [][]byte // see BanOptions
	structured [][]byte // the same for clients that ask for structured errors
	ttl        uint32
	listed     Action // for names on its lists that no entry of a policy zone answers
	data       uint32 // the number of the local data, if Action is LocalData
}

// LocalRecord is a record that a policy zone or a ban answers with.
type LocalRecord struct {
	Type wire.Type
	TTL  uint32
	Data []byte // RDATA, names in it uncompressed
}

// Generation numbers Snapshots: a later one has a greater number.
func (s *Snapshot) Generation() uint64 { return s.generation }

// NextChange is when a ban or an exception begins or ends next, and [Snapshot.At] has
// something new to say, by the clock of the Snapshot's first instant; zero if never.
func (s *Snapshot) NextChange() time.Time { return s.next }

// Policy is what the Snapshot was made from. It must not be written.
func (s *Snapshot) Policy() *Policy { return &s.policy }

// Ban is the ban of a verdict. It must not be written.
func (s *Snapshot) Ban(i uint8) *Ban { return &s.bans[i].Ban }

// LocalData is the records to answer with where a verdict's action is LocalData. They must
// not be written.
func (s *Snapshot) LocalData(v Verdict) []LocalRecord { return s.local[v.data] }

// BanSlot is the counter slot of a ban.
func (s *Snapshot) BanSlot(i uint8) Slot { return s.bans[i].slot }

// BanOptions are the EDNS options, ready to be appended, each of which explains the ban to the client that sent a
// query, of which msg is the message: the best first, and each shorter than the one before. They must not be written.
func (s *Snapshot) BanOptions(i uint8, q *wire.Query, msg []byte) [][]byte {
	b := &s.bans[i]
	if len(b.structured) > 0 && q.HasOption(msg, s.policy.Errors.Option) {
		return b.structured
	}
	return b.options
}

// BanTTL is the TTL of answers by the ban, in seconds.
func (s *Snapshot) BanTTL(i uint8) uint32 { return s.bans[i].ttl }

// SlotIDs are the ids of all bans that this process has known, by slot.
func (s *Snapshot) SlotIDs() []string { return s.slots }

// BanStatus is what a ban does at the Snapshot's instants.
type BanStatus struct {
	Ban    *Ban
	Active bool
	Names  int // entries of its lists
}

// Bans are the bans and what they do.
func (s *Snapshot) Bans() []BanStatus {
	out := make([]BanStatus, len(s.bans))
	for i := range s.bans {
		b := &s.bans[i].Ban
		some, _ := activeAt(b.Effective, b.Expires, s.at)
		out[i] = BanStatus{Ban: b, Active: some && b.InUse()}
		for _, l := range s.lists {
			for _, id := range b.Lists {
				if id == l.ID {
					out[i].Names += l.Entries
				}
			}
		}
	}
	return out
}

// Excepts reports whether the exception of that index is in force at the Snapshot's instants.
func (s *Snapshot) Excepts(i int) bool {
	e := &s.policy.Exceptions[i]
	_, all := activeAt(e.Effective, e.Expires, s.at)
	return all
}

// Memory is what the names and addresses take, in octets.
func (s *Snapshot) Memory() int { return s.trie.Bytes() }
