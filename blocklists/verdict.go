package blocklists

import "rideau/blocklists/entry"

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
	Trigger entry.Trigger
	// Links is how many aliases of the answer lead to what a policy zone stopped:
	// they belong to the answer that it asks for.
	Links uint8

	through bool   // the zone lets the answer through
	zone    uint16 // 1 and the number of the zone in its scope; 0: bans decided
	data    uint32 // of LocalData
}

// ByZone reports whether a policy zone decided, and so no ban by its lists.
func (v Verdict) ByZone() bool { return v.zone != 0 }
