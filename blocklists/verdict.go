package blocklists

import "rideau/blocklists/entry"

// Kind is what policy decides.
type Kind uint8

// Kinds of verdict.
const (
	Pass  Kind = iota // no list names it
	Allow             // an exception names it
	Block
	WouldBlock // a ban in monitor mode names it
)

// Verdict is what policy decides about a name, an address or a response.
type Verdict struct {
	Kind Kind
	// Ban is the index of the ban that decided, for [Snapshot.Ban];
	// meaningful with Block and WouldBlock, and with Allow where Overruled is set.
	Ban uint8
	// List is the index of the list that decided, for [Snapshot.Lists].
	List uint8
	// ByType is set if no entry decided, but the ban's rule for unknown types. List is then the ban's first list.
	ByType bool
	// Unlisted is set if no entry decided, but a ban on all names but those on its lists. List is then the first of these.
	Unlisted bool
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
	// Wait is set if a policy zone before the one that decided may
	// decide otherwise when there is an answer. The verdict holds if there is none.
	Wait bool

	// Trigger is what the policy zone compared, if one decided.
	Trigger entry.Trigger
	// Links is how many aliases of the response lead to what a policy zone decided about:
	// they are part of the answer by its rule.
	Links uint8

	through bool   // the zone passes the answer
	zone    uint16 // 1 and the number of the zone in its scope; 0: bans decided
	data    uint32 // the number of the local data, with the action LocalData
}

// ByZone reports whether a policy zone decided.
func (v Verdict) ByZone() bool { return v.zone != 0 }
