package blocklists

import (
	"slices"
	"time"

	"rideau/blocklists/prefix"
)

// clientTable numbers groups from 1; 0 is a client of no group.
func clientTable(groups []Group) *prefix.Table {
	var entries []prefix.Entry
	for i, g := range groups {
		for _, p := range g.Clients {
			entries = append(entries, prefix.Entry{Prefix: p, Value: uint32(i + 1)})
		}
	}
	return prefix.New(entries)
}

// setScopes works out what binds whom at an instant.
func (s *Snapshot) setScopes(now time.Time) {
	s.at, s.next = now, time.Time{}
	s.scopes = make([]scope, len(s.policy.Groups)+2)
	for i := range s.scopes {
		for l := range MaxLists {
			s.scopes[i].enforceBan[l], s.scopes[i].monitorBan[l] = noBan, noBan
		}
	}
	everyone := &s.scopes[s.Everyone()]
	for i := range s.bans {
		b := &s.bans[i].Ban
		if b.Mode == Off || !s.active(b.Effective, b.Expires) {
			continue
		}
		everyone.bind(s, b.Lists, uint8(i), Enforce)
		for _, g := range s.inScope(b.Groups) {
			g.bind(s, b.Lists, uint8(i), b.Mode)
		}
	}
	for i := range s.policy.Exceptions {
		e := &s.policy.Exceptions[i]
		if !s.active(e.Effective, e.Expires) {
			continue
		}
		for _, g := range s.inScope(e.Groups) {
			for _, id := range e.Lists {
				g.allow.add(s.listIndex(id))
			}
		}
	}
}

func (s *Snapshot) active(effective, expires time.Time) bool {
	active, next := activeAt(effective, expires, s.at)
	if !next.IsZero() && (s.next.IsZero() || next.Before(s.next)) {
		s.next = next
	}
	return active
}

// inScope are the scopes of the named groups.
func (s *Snapshot) inScope(groups []string) []*scope {
	var out []*scope
	for i := range len(s.scopes) - 1 {
		if slices.Contains(groups, GroupAll) || i > 0 && slices.Contains(groups, s.policy.Groups[i-1].ID) {
			out = append(out, &s.scopes[i])
		}
	}
	return out
}

func (s *Snapshot) listIndex(id string) int {
	return slices.IndexFunc(s.lists, func(l ListInfo) bool { return l.ID == id })
}

// bind adds a ban's lists. Bans come in order, so that the first to use a
// list is the one to be named for it.
func (sc *scope) bind(s *Snapshot, lists []string, ban uint8, m Mode) {
	set, bans := &sc.enforce, &sc.enforceBan
	if m == Monitor {
		set, bans = &sc.monitor, &sc.monitorBan
	}
	for _, id := range lists {
		i := s.listIndex(id)
		set.add(i)
		if bans[i] == noBan {
			bans[i] = ban
		}
	}
}
