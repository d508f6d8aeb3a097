package blocklists

import (
	"slices"
	"time"

	"rideau/blocklists/entry"
	"rideau/blocklists/internal/rule"
)

// noBan marks a list that no ban in scope uses.
const noBan = 255

// scope is what applies to one client group at the Snapshot's instants.
type scope struct {
	allow, enforce, monitor rule.Set
	// by list, the first ban that uses it: verdicts name that one
	enforceBan, monitorBan [MaxLists]uint8
	// by list, the first exception that uses it
	exception [MaxLists]uint8
	// zones are the lists that are policy zones, in the order of their bans.
	zones []zone
	// clientZones is set if one of the zones has a trigger on clients.
	clientZones bool
	// serverZones is set if one of the zones has a trigger on name servers.
	serverZones bool
	// waits is the index of the first zone with triggers on addresses in answers or on name servers,
	// which can decide only when there is an answer; len(zones) if none has.
	waits    int
	stripECH bool
	page     bool // of PageGroups
	// unknown are the first ban in each of Enforce and Monitor that blocks unknown types; noBan if there is none.
	unknown [2]uint8
	// allBut are the bans on all names but those on their lists, in their order.
	allBut []allBut
}

// setScopes works out what applies to each group at the instants, see [Snapshot.At].
func (s *Snapshot) setScopes(at []time.Time) {
	s.at, s.next = slices.Clone(at), nextChange(&s.policy, at)
	s.scopes = make([]scope, len(s.policy.Groups)+2)
	for i := range s.scopes {
		s.scopes[i].unknown = [2]uint8{noBan, noBan}
		s.scopes[i].page = i == len(s.scopes)-1 || s.inScope(s.policy.PageGroups, i)
		for l := range MaxLists {
			s.scopes[i].enforceBan[l], s.scopes[i].monitorBan[l] = noBan, noBan
		}
	}
	active := make([]bool, len(s.bans))
	for i := range s.bans {
		b := &s.bans[i].Ban
		active[i], _ = activeAt(b.Effective, b.Expires, s.at)
	}
	enforced := s.enforcedGroups(active)
	for i := range s.bans {
		if !active[i] {
			continue
		}
		b := &s.bans[i].Ban
		some := false
		for g := range len(s.scopes) - 1 {
			m := b.ModeFor(s.groupName(g))
			if m == Off || !s.inScope(b.Groups, g) && !(enforced[g] && slices.Contains(b.Groups, GroupEnforced)) {
				continue
			}
			some = true
			s.bind(&s.scopes[g], i, m)
		}
		if some {
			s.bind(&s.scopes[s.Everyone()], i, Enforce)
		}
	}
	for i := range s.policy.Exceptions {
		e := &s.policy.Exceptions[i]
		if _, all := activeAt(e.Effective, e.Expires, s.at); !all {
			continue
		}
		for g := range len(s.scopes) - 1 {
			if !s.inScope(e.Groups, g) {
				continue
			}
			for _, id := range e.Lists {
				l := s.listIndex(id)
				if sc := &s.scopes[g]; !sc.allow.Has(l) {
					sc.allow.Add(l)
					sc.exception[l] = uint8(i)
				}
			}
		}
	}
	for i := range s.scopes {
		s.scopes[i].summarize(s)
	}
}

// enforcedGroups reports, by group, whether an enforced ban that names the group, or all, applies to it:
// these are what GroupEnforced stands for.
func (s *Snapshot) enforcedGroups(active []bool) []bool {
	out := make([]bool, len(s.scopes))
	for i := range s.bans {
		b := &s.bans[i].Ban
		for g := range len(s.scopes) - 1 {
			if active[i] && b.ModeFor(s.groupName(g)) == Enforce && s.inScope(b.Groups, g) {
				out[g] = true
			}
		}
	}
	return out
}

// summarize sets what is true of the zones of a scope together.
func (sc *scope) summarize(s *Snapshot) {
	sc.waits = len(sc.zones)
	for i, z := range sc.zones {
		t := s.triggers[z.list]
		sc.clientZones = sc.clientZones || t&(1<<entry.OnClient) != 0
		servers := t&(1<<entry.OnNSDName|1<<entry.OnNSIP) != 0
		sc.serverZones = sc.serverZones || servers
		if sc.waits == len(sc.zones) && !z.monitor && (servers || s.addressZones.Has(int(z.list))) {
			sc.waits = i
		}
	}
}

// covers reports whether sc blocks all that o blocks, and monitors or blocks what o monitors. Zones can let names through to which
// later zones object: so they have to be the same, unless o has none.
func (sc *scope) covers(o *scope) bool {
	for w := range sc.enforce {
		if o.enforce[w]&^sc.enforce[w] != 0 || sc.allow[w]&^o.allow[w] != 0 || o.monitor[w]&^(sc.enforce[w]|sc.monitor[w]) != 0 {
			return false
		}
	}
	return (len(o.zones) == 0 || slices.Equal(o.zones, sc.zones)) && (sc.stripECH || !o.stripECH) &&
		(sc.unknown[Enforce] != noBan || o.unknown[Enforce] == noBan) && sc.coversAllBut(o)
}

// nextChange returns when the first of the instants, which go forward together, has come so far that one of them
// reaches the begin or the end of a ban or an exception; zero if none will.
func nextChange(p *Policy, at []time.Time) (next time.Time) {
	consider := func(date time.Time) {
		for _, t := range at {
			if wait := date.Sub(t); wait > 0 && (next.IsZero() || at[0].Add(wait).Before(next)) {
				next = at[0].Add(wait)
			}
		}
	}
	for i := range p.Bans {
		consider(p.Bans[i].Effective)
		consider(p.Bans[i].Expires)
	}
	for i := range p.Exceptions {
		consider(p.Exceptions[i].Effective)
		consider(p.Exceptions[i].Expires)
	}
	return next
}

// groupName is the id of a group; empty for that of the clients of no group.
func (s *Snapshot) groupName(g int) string {
	if g == 0 {
		return ""
	}
	return s.policy.Groups[g-1].ID
}

// inScope reports whether a group is one of groups, or these are all.
func (s *Snapshot) inScope(groups []string, g int) bool {
	return slices.Contains(groups, GroupAll) || g > 0 && slices.Contains(groups, s.groupName(g))
}

// bind adds a ban's lists to a scope. It is called for bans in their order, so that the first to use a
// list is the one that verdicts name.
func (s *Snapshot) bind(sc *scope, ban int, m Mode) {
	set, bans := &sc.enforce, &sc.enforceBan
	if m == Monitor {
		set, bans = &sc.monitor, &sc.monitorBan
	}
	b := &s.bans[ban].Ban
	if b.UnknownTypes && sc.unknown[m] == noBan {
		sc.unknown[m] = uint8(ban)
	}
	sc.stripECH = sc.stripECH || b.StripECH && m == Enforce
	if len(b.AllBut) > 0 {
		s.bindAllBut(sc, ban, m)
	}
	for _, id := range b.Lists {
		i := s.listIndex(id)
		set.Add(i)
		if bans[i] == noBan {
			bans[i] = uint8(ban)
		}
		isThis := func(z zone) bool { return int(z.list) == i && z.monitor == (m == Monitor) }
		if s.zones.Has(i) && !slices.ContainsFunc(sc.zones, isThis) {
			sc.zones = append(sc.zones, zone{list: uint8(i), ban: uint8(ban), monitor: m == Monitor})
		}
	}
}
