package blocklists

import (
	"fmt"
	"net/netip"
	"strings"

	"rideau/blocklists/group"
)

// GroupAll is the group that every client is in.
const GroupAll = "all"

// GroupEnforced stands for all groups to which an enforced ban applies, by their ids or by GroupAll:
// a ban that only keeps others from being bypassed needs no
// list of groups of its own.
const GroupEnforced = "enforced"

// Group is a set of clients, GroupID its number in one Snapshot, and Claims what a connection says of its client beside the address.
type (
	Group   = group.Group
	GroupID = group.ID
	Claims  = group.Claims
)

// Group is the group of a client. c may be nil. It does not allocate.
func (s *Snapshot) Group(client netip.Addr, c *Claims) GroupID {
	return s.groups.Known(client, c, s.generation, s.Stricter)
}

// FindGroup is Group, and what the client belongs to it by. It keeps nothing in c.
func (s *Snapshot) FindGroup(client netip.Addr, c *Claims) (GroupID, group.By) {
	return s.groups.Find(client, c, s.Stricter)
}

// Stricter reports whether the group a blocks all that b blocks, by bans that are in force now: a query or a
// response that gets through in a gets through in b. It may report false where that is so nevertheless.
func (s *Snapshot) Stricter(a, b GroupID) bool { return s.scopes[a].covers(&s.scopes[b]) }

// Everyone is a group to which every ban of every group applies, in mode Enforce, and no exception
// does. What passes for Everyone passes for each client.
func (s *Snapshot) Everyone() GroupID { return GroupID(len(s.scopes) - 1) }

// StripECH reports whether answers to a group must not contain the keys for encrypted
// Client Hello.
func (s *Snapshot) StripECH(g GroupID) bool { return s.scopes[g].stripECH }

// GroupName is the id of a group, GroupAll for clients of none.
func (s *Snapshot) GroupName(g GroupID) string {
	if g == 0 || int(g) > len(s.policy.Groups) {
		return GroupAll
	}
	return s.policy.Groups[g-1].ID
}

// Signature describes what applies to a group: two groups of one Snapshot with the same
// signature get the same verdicts, except that policy zones may decide
// by a client's own address.
func (s *Snapshot) Signature(g GroupID) string {
	sc := &s.scopes[g]
	var b strings.Builder
	for i := range s.lists {
		if sc.allow.Has(i) {
			fmt.Fprintf(&b, "%s allowed by %s\n", s.lists[i].ID, s.policy.Exceptions[sc.exception[i]].ID)
		}
		if ban := sc.enforceBan[i]; ban != noBan {
			fmt.Fprintf(&b, "%s enforced by %d %s\n", s.lists[i].ID, ban, s.bans[ban].ID)
		}
		if ban := sc.monitorBan[i]; ban != noBan {
			fmt.Fprintf(&b, "%s monitored by %d %s\n", s.lists[i].ID, ban, s.bans[ban].ID)
		}
	}
	for i := range sc.allBut {
		fmt.Fprintf(&b, "all but the lists of %d %t\n", sc.allBut[i].ban, sc.allBut[i].monitor)
	}
	fmt.Fprint(&b, sc.zones, sc.stripECH, sc.page)
	return b.String()
}

// GroupNamed is the group with that id. For GroupAll, and for an unknown id, it is that of the clients of no
// group.
func (s *Snapshot) GroupNamed(id string) GroupID {
	for i := range s.policy.Groups {
		if s.policy.Groups[i].ID == id {
			return GroupID(i + 1)
		}
	}
	return 0
}
