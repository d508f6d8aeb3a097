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
// enforced.
package blocklists

import (
	"math/bits"
	"net/netip"
	"time"

	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
	"rideau/resolver/wire"
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

// named is what a node's value stands for: the lists that name it itself,
// and those that name all that lies below.
type named struct{ self, below listSet }

// GroupID is a client group in one Snapshot.
type GroupID uint16

// noBan marks a list that no ban in scope uses.
const noBan = 255

// scope is what applies to one client group at the Snapshot's instant.
type scope struct {
	allow, enforce, monitor listSet
	// the ban to be named for each list: the first in order
	enforceBan, monitorBan [MaxLists]uint8
}

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
	// meaningful with Block and WouldBlock.
	Ban uint8
	// List is the index of the list that decided, for [Snapshot.ListInfo].
	List uint8
	// Labels is how many labels the listed name has.
	Labels uint8
}

// decide is the rule of precedence at one node: sets are the lists that name
// the node, v is the verdict of the less specific nodes before it.
func (sc *scope) decide(v Verdict, sets *listSet, labels int) Verdict {
	switch {
	case v.Kind == Allow:
		return v
	case sets.meets(&sc.allow):
		list, _ := first(sets, &sc.allow, nil)
		return Verdict{Kind: Allow, List: list, Labels: uint8(labels)}
	case sets.meets(&sc.enforce):
		list, ban := first(sets, &sc.enforce, &sc.enforceBan)
		return Verdict{Block, ban, list, uint8(labels)}
	case v.Kind != Block && sets.meets(&sc.monitor):
		list, ban := first(sets, &sc.monitor, &sc.monitorBan)
		return Verdict{WouldBlock, ban, list, uint8(labels)}
	}
	return v
}

// first is, of the lists in both sets, the one whose ban comes first.
func first(a, b *listSet, bans *[MaxLists]uint8) (list, ban uint8) {
	ban = noBan
	found := false
	for w := range a {
		for m := a[w] & b[w]; m != 0; m &= m - 1 {
			i := w*64 + bits.TrailingZeros64(m)
			if bans == nil {
				return uint8(i), noBan
			}
			if !found || bans[i] < ban {
				list, ban, found = uint8(i), bans[i], true
			}
		}
	}
	return list, ban
}

// banFacts is a ban with what answers need, made once.
type banFacts struct {
	Ban
	slot   Slot
	option []byte
	ttl    uint32
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
	clients    *prefix.Table // to GroupID
	scopes     []scope       // by GroupID; the last one is everyone's
	bans       []banFacts
	lists      []ListInfo
	slots      []string
}

// Group is the group of a client.
func (s *Snapshot) Group(client netip.Addr) GroupID {
	return GroupID(s.clients.Lookup(client))
}

// Everyone is a group that every ban of every group binds, whatever its mode, and no exception
// frees. What passes for Everyone passes for each client.
func (s *Snapshot) Everyone() GroupID { return GroupID(len(s.scopes) - 1) }

// Name decides about a name. It does not allocate.
func (s *Snapshot) Name(name *wire.Name, g GroupID) Verdict {
	sc := &s.scopes[g]
	var v Verdict
	labels := name.Labels()
	for m := s.trie.Match(name); ; {
		k, i, ok := m.Next()
		if !ok {
			return v
		}
		set := &s.sets[i].below
		if k == labels {
			set = &s.sets[i].self
		}
		v = sc.decide(v, set, k)
	}
}

// Addr decides about an address in a response. It does not allocate.
func (s *Snapshot) Addr(a netip.Addr, g GroupID) Verdict {
	i := s.addrs.Lookup(a)
	if i == 0 {
		return Verdict{}
	}
	return s.scopes[g].decide(Verdict{}, &s.sets[i].self, 0)
}

// Generation numbers Snapshots: a later one has a greater number.
func (s *Snapshot) Generation() uint64 { return s.generation }

// NextChange is when a ban or an exception begins or ends next, and [Snapshot.At] has
// something new to say; zero if never.
func (s *Snapshot) NextChange() time.Time { return s.next }

// Policy is what the Snapshot was made from. It must not be written.
func (s *Snapshot) Policy() *Policy { return &s.policy }

// Ban is the ban of a verdict. It must not be written.
func (s *Snapshot) Ban(i uint8) *Ban { return &s.bans[i].Ban }

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
	ID       string
	Source   string
	Entries  int
	Skipped  int
	SHA256   [32]byte
	LoadedAt time.Time // when its content was last read and found good
	options  string    // the reading options, to tell whether counts compare
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
		out[i] = BanStatus{Ban: b, Active: active && b.Mode != Off}
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
