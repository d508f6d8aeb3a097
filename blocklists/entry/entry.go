// Package entry is what an entry of a list says, whatever the format that it is
// written in: a name or a block of addresses, what it covers, and what to do
// about it.
package entry

import (
	"fmt"
	"net/netip"
)

// Entry is one name or one block of addresses.
type Entry struct {
	// Name is the name in wire form, uncompressed, in lower case; nil in an entry
	// of addresses. It is valid until the function that was called with the entry returns.
	Name []byte
	// Prefix is the block of addresses, host bits zero; the zero Prefix in
	// an entry that has a Name.
	Prefix netip.Prefix
	// Match says what Name covers. It has no meaning in an entry of addresses.
	Match Match
	// Line is where the entry begins in its file, from 1.
	Line int
	// File is the file that the entry is in, if that is one which the list includes.
	File string
	// Rule is what the entry says beyond the plain "this is listed"; nil if
	// it says no more than that. It is valid as long as Name is.
	Rule *Rule
}

// Match says which names an entry is about.
type Match uint8

const (
	// Suffix is a name and every name below it.
	Suffix Match = iota
	// Exact is one name, without those below it.
	Exact
	// Below is every name below a name, and not the name itself: what the
	// wildcard *.NAME covers (RFC 4592 section 2.1.1).
	Below
)

// String is the word that packs use for m.
func (m Match) String() string {
	switch m {
	case Suffix:
		return "suffix"
	case Exact:
		return "exact"
	case Below:
		return "below"
	}
	return fmt.Sprintf("match %d", uint8(m))
}

// Rule is what some entries say beyond a name or an address.
type Rule struct {
	Trigger Trigger
	Action  Action
	// Except takes the name out of the list again, adblock's @@: it cancels
	// this list's own entries, in any order, and no other list's.
	Except bool
	// Important makes the entry hold in spite of Except ($important).
	Important bool
	// Cancel removes the same entry of the same list: one with the same name,
	// match, Except, Important, Types and Spelling, anywhere in the list ($badfilter).
	Cancel bool
	// Spelling tells rules with the same meaning apart that are not written in the same way. It is 0 for the
	// usual way, which is also that of entries without a Rule, and MaxSpelling at most.
	Spelling uint8
	// Types are the query types that the entry is about, or with NotTypes
	// those that it is not about ($dnstype), in order; nil is all of them. It is not written afterwards.
	Types    []uint16
	NotTypes bool
	// Type, TTL and Data are the record of the action Local: Data is its
	// RDATA, names in it uncompressed. If the target of a CNAME begins with the label
	// "*", the query name takes the place of that label. Entries of the same
	// trigger add records to one answer.
	Type uint16
	TTL  uint32
	Data []byte
}

// MaxSpelling is the greatest Spelling.
const MaxSpelling = 127

// Trigger says what an entry is compared with.
type Trigger uint8

// Triggers. The last three are those of response policy zones alone.
const (
	// OnAnswer is a query name or a name that an answer leads to, or an address in an answer
	// (a policy zone's QNAME and RPZ-IP triggers).
	OnAnswer Trigger = iota
	// OnClient is the address of the client (RPZ-CLIENT-IP).
	OnClient
	// OnNSDName is the name of a name server of a zone that the query name is in (RPZ-NSDNAME).
	OnNSDName
	// OnNSIP is the address of such a name server (RPZ-NSIP).
	OnNSIP
)

// String is the trigger's word in policy zones.
func (t Trigger) String() string {
	return [...]string{"answer", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"}[t]
}

// Action is what an entry asks for.
type Action uint8

// Actions. All but the first are those of response policy zones.
const (
	Listed   Action = iota // what to do is decided by the ban that uses the list
	NXDomain               // CNAME .
	NoData                 // CNAME *.
	Passthru               // CNAME rpz-passthru.
	Drop                   // CNAME rpz-drop.
	TCPOnly                // CNAME rpz-tcp-only.
	Local                  // local data: one record of it
)

// String is what the action is called.
func (a Action) String() string {
	return [...]string{"listed", "nxdomain", "nodata", "passthru", "drop", "tcp-only", "local"}[a]
}
