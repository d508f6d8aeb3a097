// Package ban has bans and exceptions as the operator wrote them.
package ban

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"rideau/blocklists/extratext"
)

// Action is how a banned name is answered.
type Action uint8

// Actions. The set is closed: it labels metrics.
const (
	NXDomain  Action = iota // the name does not exist
	NoData                  // the name exists, without data
	Sinkhole                // A and AAAA get the ban's addresses, other types NoData
	Refuse                  // REFUSED
	Drop                    // no answer
	TCPOnly                 // over UDP a truncated answer, so that the client asks over TCP
	LocalData               // the records that a policy zone holds, or the ban's CNAME
	Passthru                // the usual answer; policy zones further down do not count
	Given                   // the action of the policy zone's entry
	Actions   = iota
)

// String is the action's name in configuration and metrics.
func (a Action) String() string {
	return [...]string{"nxdomain", "nodata", "sinkhole", "refused", "drop", "tcp-only", "local-data", "passthru", "given"}[a]
}

// Mode is how far a ban is carried out.
type Mode uint8

// Modes.
const (
	Enforce Mode = iota // answers by the ban's action
	Monitor             // answers as usual, and counts and logs what the ban would block
	Off
)

// String is the mode's name in configuration and reports.
func (m Mode) String() string { return [...]string{"enforce", "monitor", "off"}[m] }

// Ban is a legal ban and how it is carried out. Reports refer to it by its ID.
type Ban struct {
	ID         string
	TitleEN    string
	TitleFR    string
	Authority  string // who imposed it
	Instrument string // the act, order or direction
	URL        string // where to read it
	Contact    string // whom clients can ask
	Effective  time.Time
	Expires    time.Time // zero: never
	Mode       Mode
	Modes      map[string]Mode // by the id of a group, if it is not Mode
	// Action is how queries for what the ban blocks are answered. With Given, entries of policy zones
	// say that themselves, and other entries get NXDomain. Passthru and TCPOnly are for policy zones only; other entries get NXDomain with these, too.
	Action    Action
	CNAME     []byte     // with LocalData: the target, in wire form; see [entry.Rule] for an asterisk
	Sinkhole4 netip.Addr // invalid: A queries get NODATA
	Sinkhole6 netip.Addr
	EDE       uint16             // RFC 8914: 15 Blocked, 16 Censored, 17 Filtered, 18 Prohibited
	SubError  extratext.SubError // beside EDE
	Page      bool               // its Sinkhole is the block page, for Policy.PageGroups only; others get NXDomain
	TTL       time.Duration      // of the answers: how long clients cache them
	Groups    []string           // ids of client groups in scope, all, or enforced
	Lists     []string           // what it blocks
	// AllBut are the lists of a ban that blocks all names but those on them. It then has no Lists.
	AllBut []string
	Canary string // a name that it blocks, in presentation form, for tests; empty: one of its lists
	// Bypass says that the ban is about ways to bypass this resolver: a client
	// whose query it blocks tries one.
	Bypass bool
	// StripECH removes the keys for encrypted Client Hello from answers to the ban's groups.
	StripECH bool
	// UnknownTypes blocks queries for types of which nothing is known, or whose records have names or addresses
	// that are not looked at. The names exist, so that NXDomain becomes NoData.
	UnknownTypes bool
}

// Stages is the ban's mode, and after it the modes of groups that have
// another.
func (b *Ban) Stages() string {
	s := b.Mode.String()
	for _, g := range slices.Sorted(maps.Keys(b.Modes)) {
		s += fmt.Sprintf(" (%s: %v)", g, b.Modes[g])
	}
	return s
}

// ModeFor is the ban's mode in a group.
func (b *Ban) ModeFor(group string) Mode {
	if m, ok := b.Modes[group]; ok {
		return m
	}
	return b.Mode
}

// InUse reports whether the ban is on for any group.
func (b *Ban) InUse() bool {
	for _, m := range b.Modes {
		if m != Off {
			return true
		}
	}
	return b.Mode != Off
}

// Exception allows names that bans would block.
type Exception struct {
	ID        string
	Title     string
	Reason    string
	Contact   string
	Ticket    string // where it was requested
	Approver  string // who approved it
	Effective time.Time
	Expires   time.Time
	Groups    []string
	Lists     []string
}

// Uses are the lists that the ban uses: Lists or AllBut. They must not be written.
func (b *Ban) Uses() []string {
	if len(b.AllBut) > 0 {
		return b.AllBut
	}
	return b.Lists
}
