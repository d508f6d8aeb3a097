// Package simulate compares what two policies do to queries that clients have
// sent.
//
// It decides by questions only. The content of answers, such as an alias of a banned name, is not in
// a query log, so a policy can block more than a simulation shows.
package simulate

import (
	"hash/maphash"
	"net/netip"

	"rideau/blocklists"
	"rideau/blocklists/querylog"
	"rideau/resolver/wire"
)

// Side is one of the two policies.
type Side struct {
	// Policy decides. Nil passes everything.
	Policy *blocklists.Snapshot
	// Serves reports whether a client is served; nil serves all.
	Serves func(netip.Addr) bool
	// Special reports whether a name is a special-use name, about which policy does not
	// decide; nil is none.
	Special func(*wire.Name) bool
}

// limits bound what a Simulation stores. What exceeds them is counted in the
// sums of queries, and the report says that there was more.
type limits struct {
	names   int // distinct names, each twice or more: in all, and by class
	changed int // distinct pairs of a name whose answer changes and a kind of change
	clients int // distinct clients; their numbers have 30 bits
	pairs   int // distinct pairs of a changed name, or of a kind of change, and a client
}

// usual are limits that a day of a large network does not reach. They allow
// about 600 MB; a usual day takes 50.
var usual = limits{names: 1 << 22, changed: 1 << 19, clients: 1 << 20, pairs: 1 << 22}

// Class is what a change of policy does to a query.
type Class uint8

// Classes. All but Unchanged are changes.
const (
	Blocked     Class = iota // newly blocked
	Allowed                  // blocked before, and no longer
	Changed                  // blocked or monitored by another ban, or answered differently
	Monitored                // newly monitored: a ban in monitor mode would block it
	Unmonitored              // monitored before, and no longer
	Refused                  // the client is no longer served
	Served                   // the client is newly served
	Unchanged
	classes
)

// String is the class's name in reports.
func (c Class) String() string {
	return [...]string{"newly_blocked", "newly_allowed", "changed", "newly_monitored", "no_longer_monitored",
		"newly_refused", "newly_served", "unchanged"}[c]
}

// outcome is what becomes of a query.
type outcome uint8

const (
	passed outcome = iota
	excepted
	monitored
	special
	refused // the client is not served
	blocked
	outcomes
)

func (o outcome) String() string {
	return [...]string{"passed", "excepted", "monitored", "special", "refused", "blocked"}[o]
}

// effect is what a policy does to a query. ban is a number for both sides; list
// and exception are indices in the policy. -1 is none.
type effect struct {
	outcome              outcome
	action               blocklists.Action
	ban, list, exception int16
}

// same reports whether the effects are the same for clients and for counters.
func (e effect) same(o effect) bool {
	return e.outcome == o.outcome && e.ban == o.ban && e.action == o.action
}

// transition is what both policies do to a query.
type transition struct{ before, after effect }

func (t transition) class() Class {
	b, a := t.before.outcome, t.after.outcome
	switch {
	case t.before.same(t.after):
		return Unchanged
	case a == refused:
		return Refused
	case b == refused:
		return Served
	case a == blocked && b == blocked, a == monitored && b == monitored:
		return Changed
	case a == blocked:
		return Blocked
	case b == blocked:
		return Allowed
	case a == monitored:
		return Monitored
	case b == monitored:
		return Unmonitored
	}
	// Passed, excepted or special before and after: answered as usual.
	return Unchanged
}

// Simulation collects what happens to queries. It is not safe for concurrent
// use.
type Simulation struct {
	candidate, against side
	bans               []string // ids, by the numbers in effects
	seed               maphash.Seed
	limits             limits

	queries  int
	outcomes [outcomes]int // under the candidate, of unchanged queries
	classes  [classes]struct{ queries, names, clients int }
	names    set // of names, and of names by class
	distinct int // names

	clients     map[netip.Addr]uint32
	unnumbered  int // queries of clients beyond the limit
	transitions map[transition]*tally
	order       []*tally
	changed     map[changedKey]*changedName
	unkept      int // queries of changed names beyond the limit
	pairs       set
}

// side is a Side with its bans numbered.
type side struct {
	Side
	bans []int16 // by ban of the policy, numbers of effects
}

// tally is the sum of the queries with one transition.
type tally struct {
	transition
	number                  uint32
	queries, names, clients int
}

type changedKey struct {
	transition uint32
	name       string // wire form
}

type changedName struct {
	number           uint32
	queries, clients int
}

// set is a bounded set of numbers.
type set struct {
	has  map[uint64]struct{}
	full bool
}

// insert inserts x, and reports whether it is new. If the set has limit numbers already, x is not inserted and full is set.
func (s *set) insert(x uint64, limit int) bool {
	if _, ok := s.has[x]; ok {
		return false
	}
	if len(s.has) >= limit {
		s.full = true
		return false
	}
	s.has[x] = struct{}{}
	return true
}

// New returns a Simulation of candidate, compared with against.
func New(candidate, against Side) *Simulation {
	s := &Simulation{
		seed: maphash.MakeSeed(), limits: usual,
		names: set{has: map[uint64]struct{}{}}, pairs: set{has: map[uint64]struct{}{}},
		clients: map[netip.Addr]uint32{}, transitions: map[transition]*tally{}, changed: map[changedKey]*changedName{},
	}
	s.candidate, s.against = s.side(candidate), s.side(against)
	return s
}

// side numbers the bans of a policy.
func (s *Simulation) side(x Side) side {
	out := side{Side: x}
	if x.Policy == nil {
		return out
	}
	for _, b := range x.Policy.Bans() {
		n := -1
		for i, id := range s.bans {
			if id == b.Ban.ID {
				n = i
			}
		}
		if n < 0 {
			n = len(s.bans)
			s.bans = append(s.bans, b.Ban.ID)
		}
		out.bans = append(out.bans, int16(n))
	}
	return out
}

// effect is what a policy does to a query.
func (x *side) effect(q *querylog.Query) effect {
	e := effect{ban: -1, list: -1, exception: -1}
	if x.Serves != nil && !x.Serves(q.Client) {
		e.outcome = refused
		return e
	}
	if x.Policy == nil {
		return e
	}
	if x.Special != nil && x.Special(&q.Name) {
		e.outcome = special
		return e
	}
	v := x.Policy.Question(&blocklists.Ask{Name: &q.Name, Type: q.Type, Client: q.Client, TCP: q.TCP, Group: x.Policy.Group(q.Client, nil)})
	switch v.Kind {
	case blocklists.Pass:
		return e
	case blocklists.Allow:
		e.outcome, e.exception = excepted, int16(v.Exception)
		return e
	case blocklists.WouldBlock:
		e.outcome = monitored
	case blocklists.Block:
		e.outcome = blocked
	}
	e.ban, e.list, e.action = x.bans[v.Ban], int16(v.List), v.Action
	return e
}

// Count counts a query. It does not keep q.
func (s *Simulation) Count(q *querylog.Query) {
	s.queries++
	t := transition{s.against.effect(q), s.candidate.effect(q)}
	class := t.class()
	of := &s.classes[class]
	of.queries++
	// A name is a keyed hash of 60 bits; the other four bits are the class that
	// counts it.
	h := maphash.Bytes(s.seed, q.Name.Bytes()) &^ 0xF
	if s.names.insert(h|uint64(classes), s.limits.names) {
		s.distinct++
	}
	if s.names.insert(h|uint64(class), s.limits.names) {
		of.names++
	}
	client, numbered := s.number(q.Client)
	if numbered && s.pairs.insert(pair(byClass, uint32(class), client), s.limits.pairs) {
		of.clients++
	}
	if class == Unchanged {
		s.outcomes[t.after.outcome]++
		return
	}
	s.change(q, t, client, numbered)
}

// number returns the number of a client, if it has one.
func (s *Simulation) number(a netip.Addr) (uint32, bool) {
	n, ok := s.clients[a]
	switch {
	case ok:
	case len(s.clients) >= s.limits.clients:
		s.unnumbered++
		return 0, false
	default:
		n = uint32(len(s.clients))
		s.clients[a] = n
	}
	return n, true
}

// What a client is counted by.
const (
	byClass = iota
	byTransition
	byName
)

func pair(by int, number, client uint32) uint64 {
	return uint64(number)<<32 | uint64(client)<<2 | uint64(by) // a client's number has at most 30 bits
}

// change counts a query whose answer changes.
func (s *Simulation) change(q *querylog.Query, t transition, client uint32, numbered bool) {
	sum := s.transitions[t]
	if sum == nil {
		sum = &tally{transition: t, number: uint32(len(s.order))}
		s.transitions[t] = sum
		s.order = append(s.order, sum)
	}
	sum.queries++
	if numbered && s.pairs.insert(pair(byTransition, sum.number, client), s.limits.pairs) {
		sum.clients++
	}
	n := s.changed[changedKey{sum.number, string(q.Name.Bytes())}]
	if n == nil {
		if len(s.changed) >= s.limits.changed {
			s.unkept++
			return
		}
		n = &changedName{number: uint32(len(s.changed))}
		s.changed[changedKey{sum.number, string(q.Name.Bytes())}] = n
		sum.names++
	}
	n.queries++
	if numbered && s.pairs.insert(pair(byName, n.number, client), s.limits.pairs) {
		n.clients++
	}
}
