package blocklists

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"rideau/blocklists/format"
	"rideau/resolver/wire"
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
	TCPOnly                 // over UDP an answer that is cut, so that the client comes by TCP
	LocalData               // the records that a policy zone holds, or the ban's CNAME
	Passthru                // the usual answer; what policy zones further down say does not count
	Given                   // what the policy zone says
	Actions   = iota
)

// String is the action's name in configuration and metrics.
func (a Action) String() string {
	return [...]string{"nxdomain", "nodata", "sinkhole", "refused", "drop", "tcp-only", "local-data", "passthru", "given"}[a]
}

// Mode is how far a ban goes.
type Mode uint8

// Modes.
const (
	Enforce Mode = iota // answers by the ban's action
	Monitor             // answers as usual, and counts and logs what would have been banned
	Off
)

// String is the mode's name in configuration and reports.
func (m Mode) String() string { return [...]string{"enforce", "monitor", "off"}[m] }

// GroupAll is the group that every client is in.
const GroupAll = "all"

// GroupEnforced stands for the groups that a ban binds which is enforced and does not name this one
// itself: what is only there to keep a ban from being walked around needs no
// list of groups of its own.
const GroupEnforced = "enforced"

// Ban is a legal ban and how it is carried out. Everything that reports
// speaks of its ID.
type Ban struct {
	ID         string
	TitleEN    string
	TitleFR    string
	Authority  string // who imposed it
	Instrument string // the act, order or direction
	URL        string // where to read it
	Contact    string // whom to ask here
	Effective  time.Time
	Expires    time.Time // zero: never
	Mode       Mode
	Modes      map[string]Mode // by the id of a group, where it is not Mode
	// Action is how all that the ban stops is answered. Where it is Given, entries of policy zones
	// say that themselves, and others get NXDomain. Passthru and TCPOnly are for policy zones too.
	Action    Action
	CNAME     []byte     // with LocalData: the target, in wire form; see [format.Rule] for an asterisk
	Sinkhole4 netip.Addr // invalid: A queries get NODATA
	Sinkhole6 netip.Addr
	EDE       uint16        // RFC 8914: 15 Blocked, 16 Censored, 17 Filtered, 18 Prohibited
	TTL       time.Duration // of the answers, so how long clients remember them
	Groups    []string      // ids of client groups in scope, GroupAll, or GroupEnforced
	Lists     []string
	// Bypass says that the ban is about ways around this resolver, so that
	// whoever runs into it tries one.
	Bypass bool
	// StripECH takes the key for encrypted Client Hello out of what the ban's groups are answered.
	StripECH bool
}

// Stages is how far the ban goes: its mode, and after it those of groups for which it is
// another.
func (b *Ban) Stages() string {
	s := b.Mode.String()
	for _, g := range slices.Sorted(maps.Keys(b.Modes)) {
		s += fmt.Sprintf(" (%s: %v)", g, b.Modes[g])
	}
	return s
}

// inUse reports whether the ban is on for anybody.
func (b *Ban) inUse() bool {
	for _, m := range b.Modes {
		if m != Off {
			return true
		}
	}
	return b.Mode != Off
}

// Exception lets names through that bans would stop. Allow beats block.
type Exception struct {
	ID        string
	Title     string
	Reason    string
	Contact   string
	Ticket    string // where it was asked for
	Approver  string // who said yes
	Effective time.Time
	Expires   time.Time
	Groups    []string
	Lists     []string
}

// Group is a set of clients. A client belongs to the group with the longest
// prefix that holds its address.
type Group struct {
	ID      string
	Clients []netip.Prefix
}

// List is a source of entries.
type List struct {
	ID string
	// Source names the content for people: a path, or where it is embedded.
	// If it or the reading options change, the guards against shrinking do not compare.
	Source string
	// Open gives the content.
	Open func() (io.ReadCloser, error)
	// Parts, if it is not nil, gives the files of a list that is a folder, in order; Open is not used then.
	Parts func() ([]Part, error)
	// Include opens what a policy zone includes, by the name that is written there, and says what the file is called in messages;
	// nil refuses such zones.
	Include func(name string) (Part, error)
	// MaxBytes bounds the content after decompression; 0 leaves that to format.Read.
	MaxBytes int64
	Format   format.Format
	// Tiers are those of a pack's rows that count.
	Tiers    []string
	AllowTLD bool
	// MaxSkipped is the share of lines that may be unusable.
	MaxSkipped float64
	// MaxShrink is the share of its entries that the list may lose in one
	// reload; 1 lets it lose all but the last.
	MaxShrink float64
	// Unguarded lists may shrink to nothing: those written in the configuration itself.
	Unguarded bool
	Guards    Guards
}

// Policy is all that decides about names, as the operator wrote it.
type Policy struct {
	Groups     []Group
	Lists      []List
	Bans       []Ban
	Exceptions []Exception
}

// Limits.
const (
	MaxLists  = 256
	MaxBans   = 64
	MaxGroups = 1024
	// MaxExceptions is a limit too.
	MaxExceptions = 254
)

// Slot numbers a ban id for as long as the process lives, so that counters
// need no names.
type Slot uint8

// Slots.
const (
	// MaxSlots bounds the ban ids that are counted apart in one process's life; the
	// last slot takes whatever comes after.
	MaxSlots = 128
	// NoBan is no slot.
	NoBan Slot = 255
)

// Slots gives ban ids their slots. It belongs to the goroutine that loads;
// a Snapshot carries what readers need.
type Slots struct{ ids []string }

// OtherBans is the id reported for the last slot once there are more ids than
// slots.
const OtherBans = "other"

// Slot is the id's slot: the one it had, or a new one.
func (s *Slots) Slot(id string) Slot {
	for i, have := range s.ids {
		if have == id {
			return Slot(i)
		}
	}
	if len(s.ids) >= MaxSlots-1 {
		return MaxSlots - 1
	}
	s.ids = append(s.ids, id)
	return Slot(len(s.ids) - 1)
}

// ede is the option that answers by this ban carry, ready to be appended: the
// code, and a text that names the ban (RFC 8914 section 2). The text is
// bounded so that the longest name's answer still fits 512 octets.
func (b *Ban) ede() []byte {
	const limit = 120
	text := b.ID
	if b.TitleEN != "" {
		text = fmt.Sprintf("%s: %s", b.ID, b.TitleEN)
	}
	return wire.AppendEDE(nil, b.EDE, truncate(text, limit))
}

// truncate cuts s to at most n octets at a rune's boundary.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	cut := n - 3
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "..."
}

// activeAt reports whether the instants enclose t, and when that changes next;
// zero if never.
func activeAt(effective, expires, t time.Time) (active bool, next time.Time) {
	switch {
	case t.Before(effective):
		return false, effective
	case expires.IsZero():
		return true, time.Time{}
	case t.Before(expires):
		return true, expires
	}
	return false, time.Time{}
}
