package blocklists

import (
	"net/netip"
	"time"

	"rideau/blocklists/ban"
	"rideau/blocklists/extratext"
	"rideau/blocklists/input"
	"rideau/blocklists/internal/rule"
)

// A Ban and an Exception are what the operator wrote, with the Action by which a ban answers and the Mode in which it is.
type (
	Ban       = ban.Ban
	Exception = ban.Exception
	Action    = ban.Action
	Mode      = ban.Mode
)

// Actions and modes; see package ban.
const (
	NXDomain  = ban.NXDomain
	NoData    = ban.NoData
	Sinkhole  = ban.Sinkhole
	Refuse    = ban.Refuse
	Drop      = ban.Drop
	TCPOnly   = ban.TCPOnly
	LocalData = ban.LocalData
	Passthru  = ban.Passthru
	Given     = ban.Given
	Actions   = ban.Actions
	Enforce   = ban.Enforce
	Monitor   = ban.Monitor
	Off       = ban.Off
)

// Policy is all that decides about names, as the operator wrote it.
type Policy struct {
	Groups     []Group
	Lists      []input.List
	Bans       []Ban
	Exceptions []Exception
	// NAT64 are the prefixes by which the network's translators reach IPv4, besides the well-known one: of IPv6, and of
	// 32, 40, 48, 56, 64 or 96 bits (RFC 6052 section 2.2).
	NAT64      []netip.Prefix
	PageGroups []string // the groups that Page is for, or GroupAll
	// Errors are the structured errors that clients can ask for.
	Errors extratext.Structured
}

// Limits.
const (
	MaxLists  = rule.MaxLists
	MaxBans   = 64
	MaxGroups = 1024
	// MaxExceptions leaves two numbers of an octet unused.
	MaxExceptions = 254
)

// activeAt reports whether some, and whether all, of the instants are between effective and expires.
func activeAt(effective, expires time.Time, at []time.Time) (some, all bool) {
	all = true
	for _, t := range at {
		in := !t.Before(effective) && (expires.IsZero() || t.Before(expires))
		some, all = some || in, all && in
	}
	return some, all
}
