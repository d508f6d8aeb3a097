// Package blocklists decides about names and addresses: which ban, if any,
// applies to what a client asks or is about to be told.
//
// All policy lies in one immutable [Snapshot], built off the serving path by
// [Load] and swapped in by whoever serves, with one atomic pointer. Readers
// take the pointer once for a query and use nothing else; a Snapshot is never
// written after it was made, so it needs no lock and no reference count.
//
// One suffix trie holds the names of all lists. A node's value is the set of
// lists that name it, and a client group is a mask over lists, so that one
// walk answers for every list and every group, and its cost does not grow with either.
//
// The rule of precedence, carried out by the scope's decide method: an
// exception beats a ban; then the more specific name decides; then the order
// in which the bans are configured. A ban in monitor mode never hides one that is
// enforced. What no ban stops, policy zones decide about, by the rules of their own
// (see zone.go): no zone lifts a ban.
//
// What an entry says beyond a name or an address, as those of policy zones and
// of some adblock rules do, lies in sets of rules beside the sets of lists, which only
// names that have some pay for.
package blocklists

import (
	"net/netip"
	"time"

	"rideau/blocklists/format"
	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
)

// listSet is a set of lists by their index in the policy.
type listSet [MaxLists / 64]uint64

func (s *listSet) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s *listSet) union(o *listSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

// meets reports whether the two sets share a list.
func (s *listSet) meets(o *listSet) bool {
	return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0
}

// has reports whether a list is in the set.
func (s *listSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s *listSet) remove(i int) { s[i/64] &^= 1 << (i % 64) }

// named is what a node's value stands for: the lists that name it itself,
// and those that name all that lies below. rules is the number of a set of
// rules, where an entry says more than that.
type named struct {
	self, below listSet
	rules       uint32
}

// GroupID is a client group in one Snapshot.
type GroupID uint16

// Kind is what policy says.
type Kind uint8

// Kinds of verdict.
const (
	Pass  Kind = iota // no list has a word on it
	Allow             // an exception names it
	Block
	WouldBlock // a ban in monitor mode names it
)

// Verdict is policy's word on a name, an address or a response.
type Verdict struct {
	Kind Kind
	// Ban is the index of the ban that decided, for [Snapshot.Ban];
	// meaningful with Block and WouldBlock, and with Allow where Overruled is set.
	Ban uint8
	// List is the index of the list that decided, for [Snapshot.Lists].
	List uint8
	// Labels is how many labels the listed name has; 0 if a policy zone decided.
	Labels uint8
	// Exception is the index of the exception, in [Snapshot.Policy], with
	// Allow.
	Exception uint8
	// Overruled is set with Allow where, without the exception, Ban would
	// have decided.
	Overruled bool
	// Action is how to answer, with Block and WouldBlock; never Given, Passthru or, over a stream, TCPOnly.
	Action Action
	// Wait is set where a policy zone that stands before the one that decided may
	// think otherwise when it sees the answer. The verdict holds if there is none.
	Wait bool

	// Trigger is what the policy zone compared, if one decided.
	Trigger format.Trigger
	// Links is how many aliases of the answer lead to what a policy zone stopped:
	// they belong to the answer that it asks for.
	Links uint8

	through bool   // the zone lets the answer through
	zone    uint16 // 1 and the number of the zone in its scope; 0: bans decided
	data    uint32 // of LocalData
}

// ByZone reports whether a policy zone decided, and so no ban by its lists.
func (v Verdict) ByZone() bool { return v.zone != 0 }

// banFacts is a ban with what answers need, made once.
type banFacts struct {
	Ban
	slot   Slot
	option []byte
	ttl    uint32
	flat   Action // for what is on its lists
	data   uint32 // of the action LocalData
}

// Snapshot is all policy at one instant. It is immutable and safe for any
// number of readers.
type Snapshot struct {
	generation uint64
	at         time.Time
	next       time.Time
	policy     Policy
	trie       *suffix.Trie
	sets       []named // by the trie's and the address table's values
	addrs      *prefix.Table
	someAddrs  bool          // there are any
	clients    *prefix.Table // to GroupID
	// What entries say beyond being listed; see ruleBook.
	rules       [][]rule
	types       []typeSet
	local       [][]LocalRecord
	triggers    [MaxLists]uint8 // by list, those of its rules, as bits
	addressed   [MaxLists]bool  // the policy zones with triggers on addresses in answers
	isZone      [MaxLists]bool
	guarded     listSet // the lists from which names are protected
	clientRules *prefix.Table
	someClients bool

	scopes []scope // by GroupID; the last one is everyone's
	bans   []banFacts
	lists  []ListInfo
	slots  []string
}

// Group is the group of a client.
func (s *Snapshot) Group(client netip.Addr) GroupID {
	return GroupID(s.clients.Lookup(client))
}

// Everyone is a group that every ban of every group binds, whatever its mode, and no exception
// frees. What passes for Everyone passes for each client.
func (s *Snapshot) Everyone() GroupID { return GroupID(len(s.scopes) - 1) }

// Generation numbers Snapshots: a later one has a greater number.
func (s *Snapshot) Generation() uint64 { return s.generation }

// NextChange is when a ban or an exception begins or ends next, and [Snapshot.At] has
// something new to say; zero if never.
func (s *Snapshot) NextChange() time.Time { return s.next }

// Policy is what the Snapshot was made from. It must not be written.
func (s *Snapshot) Policy() *Policy { return &s.policy }

// Ban is the ban of a verdict. It must not be written.
func (s *Snapshot) Ban(i uint8) *Ban { return &s.bans[i].Ban }

// LocalData is what to answer with where a verdict's action is that. It must
// not be written.
func (s *Snapshot) LocalData(v Verdict) []LocalRecord { return s.local[v.data] }

// StripECH reports whether a group is not to be told the keys for encrypted
// Client Hello.
func (s *Snapshot) StripECH(g GroupID) bool { return s.scopes[g].stripECH }

// GroupName is the id of a group, GroupAll for clients of none.
func (s *Snapshot) GroupName(g GroupID) string {
	if g == 0 || int(g) > len(s.policy.Groups) {
		return GroupAll
	}
	return s.policy.Groups[g-1].ID
}

// BanSlot is the counter slot of a ban.
func (s *Snapshot) BanSlot(i uint8) Slot { return s.bans[i].slot }

// BanOption is the EDNS option that explains the ban, ready to be appended.
// It must not be written.
func (s *Snapshot) BanOption(i uint8) []byte { return s.bans[i].option }

// BanTTL is the TTL of answers by the ban, in seconds.
func (s *Snapshot) BanTTL(i uint8) uint32 { return s.bans[i].ttl }

// SlotIDs are the ids of all bans that this process has known, by slot.
func (s *Snapshot) SlotIDs() []string { return s.slots }

// ListInfo is what is known about a loaded list.
type ListInfo struct {
	ID      string
	Source  string
	Entries int
	Skipped int
	// Format is how it was read, NotDNS how many of its lines are about
	// something else than names, and Reasons why lines were passed over.
	Format   format.Format
	NotDNS   int
	Reasons  []format.Reason
	SHA256   [32]byte
	LoadedAt time.Time // when its content was last read and found good
	Serial   Serial
	Included []string // what the list includes, as is written there, in order
	options  string   // the reading options, to tell whether counts compare
}

// Lists are the loaded lists, by index. It must not be written.
func (s *Snapshot) Lists() []ListInfo { return s.lists }

// BanStatus is what a ban does at the Snapshot's instant.
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
		active, _ := activeAt(b.Effective, b.Expires, s.at)
		out[i] = BanStatus{Ban: b, Active: active && b.inUse()}
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

// Memory is what the names and addresses take, in octets.
func (s *Snapshot) Memory() int { return s.trie.Bytes() }
