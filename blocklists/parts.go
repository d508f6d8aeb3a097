package blocklists

import (
	"rideau/blocklists/extratext"
	"slices"
	"time"

	"rideau/blocklists/group"
	"rideau/blocklists/internal/rule"
	"rideau/blocklists/prefix"
	"rideau/blocklists/suffix"
	"rideau/resolver/wire"
)

// Parts are what [New] makes a Snapshot of: the policy, what is known of its
// lists, and what their entries say, in the form that package compile makes of them.
type Parts struct {
	Policy Policy
	Lists  []ListInfo // of Policy.Lists
	// Names, Addrs (listed addresses, and triggers of policy zones on addresses) and Clients
	// (triggers on clients) give the index of a value.
	Names          *suffix.Trie
	Above          *suffix.Trie // the names above those on the lists of Ban.AllBut; nil: there are none
	Addrs, Clients *prefix.Table
	Values         []rule.Value
	// Rules, Types and Local are what values and rules refer to by number.
	Rules [][]rule.Rule
	Types []rule.TypeSet
	Local [][]LocalRecord
	// Triggers are, by list, the triggers of its rules, as bits.
	Triggers [MaxLists]uint8
	// Zones are the lists that are policy zones, AddressZones those with triggers on
	// addresses in answers.
	Zones, AddressZones rule.Set
}

// New makes a Snapshot of parts, which it keeps and which must not be written afterwards. The bans in
// force are those that are so at the instants, see [Snapshot.At]. prev is the Snapshot before, or nil. slots numbers the bans.
func New(p Parts, prev *Snapshot, slots *Slots, now ...time.Time) *Snapshot {
	s := &Snapshot{
		generation: 1, policy: p.Policy, lists: p.Lists,
		trie: p.Names, above: p.Above, values: p.Values, addrs: p.Addrs, hasAddrs: !p.Addrs.Empty(), clientRules: p.Clients,
		groups: group.New(p.Policy.Groups),
		rules:  p.Rules, types: p.Types, local: p.Local,
		triggers: p.Triggers, zones: p.Zones, addressZones: p.AddressZones,
	}
	if prev != nil {
		s.generation = prev.generation + 1
	}
	for i := range p.Policy.Lists {
		if p.Policy.Lists[i].Guards.Protected != nil {
			s.guarded.Add(i)
		}
	}
	for i := range p.Policy.Bans {
		s.bans = append(s.bans, s.compileBan(p.Policy.Bans[i], slots))
	}
	s.slots = slices.Clone(slots.ids)
	s.setScopes(now)
	return s
}

// compileBan makes what answers by a ban need. It appends the ban's local data to s.local.
func (s *Snapshot) compileBan(b Ban, slots *Slots) compiledBan {
	if b.Action == Given && !slices.ContainsFunc(b.Lists, func(id string) bool { return s.zones.Has(s.listIndex(id)) }) {
		b.Action = NXDomain // it has no policy zone that could say otherwise
	}
	c := compiledBan{Ban: b, slot: slots.Slot(b.ID), ttl: uint32(b.TTL / time.Second)}
	c.options, c.structured = s.policy.Errors.Options(&extratext.Fact{
		ID: b.ID, TitleEN: b.TitleEN, TitleFR: b.TitleFR, Contact: b.Contact, Code: b.EDE, SubError: b.SubError})
	if c.listed = b.Action; b.Action == Given || b.Action == Passthru || b.Action == TCPOnly {
		c.listed = NXDomain // these are for policy zones
	}
	if b.Action == LocalData {
		c.data = uint32(len(s.local))
		s.local = append(s.local, []LocalRecord{{wire.TypeCNAME, c.ttl, b.CNAME}})
	}
	return c
}

// At returns the Snapshot as it is at another time: the same lists, with the bans
// that are in force then. Where it is not certain what time it is, there are several instants: a
// ban is in force if it is so at one of them, an exception if it is so at all.
func (s *Snapshot) At(now ...time.Time) *Snapshot {
	n := *s
	n.generation++
	n.setScopes(now)
	return &n
}

// Naming returns the policy by which what some lists name is blocked for everybody, and nothing else is. By it one sees whether lists name a name or
// an address, whatever bans do. Its verdicts name no ban.
func (s *Snapshot) Naming(lists []string) *Snapshot {
	n := *s
	n.policy.Exceptions = nil
	n.bans = []compiledBan{{Ban: Ban{Action: Given, Groups: []string{GroupAll}, Lists: lists}, listed: NXDomain}}
	n.setScopes(s.at)
	return &n
}

// ChangesAt reports whether At would put another ban or exception in force, or one out of force.
func (s *Snapshot) ChangesAt(now ...time.Time) bool {
	for i := range s.bans {
		b := &s.bans[i].Ban
		was, _ := activeAt(b.Effective, b.Expires, s.at)
		if is, _ := activeAt(b.Effective, b.Expires, now); is != was {
			return true
		}
	}
	for i := range s.policy.Exceptions {
		e := &s.policy.Exceptions[i]
		_, was := activeAt(e.Effective, e.Expires, s.at)
		if _, is := activeAt(e.Effective, e.Expires, now); is != was {
			return true
		}
	}
	return false
}

// Confirmed returns the Snapshot with its lists read at that instant and found unchanged.
func (s *Snapshot) Confirmed(now time.Time) *Snapshot {
	n := *s
	n.lists = slices.Clone(s.lists)
	for i := range n.lists {
		n.lists[i].LoadedAt = now
	}
	return &n
}
