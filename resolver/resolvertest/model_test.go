package resolvertest

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// model is a naive implementation of policy, which compares every entry of every
// list. It shares the readers of lists with the real one and nothing else, and
// answers are checked against it.
type model struct {
	policy  *policy
	entries []modelEntry
}

type modelEntry struct {
	list   string
	name   string // folded; "" for addresses
	match  entry.Match
	prefix netip.Prefix
	except bool // a name that the list lets through
}

// newModel reads the lists of a load that succeeded. It does not support entries
// that depend on more than the name or address, and policy zones.
func newModel(p *policy, files map[string]string) (*model, error) {
	m := &model{policy: p}
	for _, l := range p.Lists {
		opt := format.Options{File: l.Source, Format: l.Format, Tiers: l.Tiers, AllowTLD: l.AllowTLD, MaxSkipped: l.MaxSkipped}
		_, err := format.Read(strings.NewReader(files[l.Source]), opt, func(e entry.Entry) error {
			if e.Rule != nil && (!e.Rule.Except || e.Rule.Types != nil) {
				return nil
			}
			x := modelEntry{list: l.ID, match: e.Match, prefix: e.Prefix, except: e.Rule != nil}
			if e.Name != nil {
				x.name = fold(wire.NameString(e.Name))
			}
			m.entries = append(m.entries, x)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// group is the id of the group that a client is in, "" for none.
func (m *model) group(client netip.Addr) string {
	id, bits := "", -1
	for _, g := range m.policy.Groups {
		for _, p := range g.Clients {
			if p.Contains(client) && p.Bits() > bits {
				id, bits = g.ID, p.Bits()
			}
		}
	}
	return id
}

// verdict is what applies to one name or address: allowed before banned, and
// banned before monitored.
type modelVerdict struct {
	allowed, banned, monitored bool
}

func (m *model) name(name string, client netip.Addr, now time.Time) modelVerdict {
	v := m.target(name, name, client, now)
	if v.allowed || v.banned {
		return v
	}
	group, lists := m.group(client), m.lists(covers(name, false))
	for _, b := range m.policy.Bans {
		mode, ok := b.Modes[group]
		if !ok {
			mode = b.Mode
		}
		inForce := !now.Before(b.Effective) && (b.Expires.IsZero() || now.Before(b.Expires)) &&
			(slices.Contains(b.Groups, blocklists.GroupAll) || group != "" && slices.Contains(b.Groups, group))
		lets := func(id string) bool { return lists[id] }
		reverse := func(e modelEntry) bool {
			return slices.Contains(b.AllBut, e.list) && e.name == "" && strings.HasSuffix(fold(name), ".in-addr.arpa.") && e.prefix.Contains(reversed(name))
		}
		above := func(e modelEntry) bool {
			return slices.Contains(b.AllBut, e.list) && dns.IsSubDomain(fold(name), e.name)
		}
		if len(b.AllBut) == 0 || !inForce || slices.ContainsFunc(b.AllBut, lets) || slices.ContainsFunc(m.entries, above) || slices.ContainsFunc(m.entries, reverse) {
			continue
		}
		v.banned, v.monitored = v.banned || mode == blocklists.Enforce, v.monitored || mode == blocklists.Monitor
	}
	v.monitored = v.monitored && !v.banned
	return v
}

// reversed is the IPv4 address of a reverse name; it is invalid for other names.
func reversed(name string) netip.Addr {
	labels := dns.SplitDomainName(name)
	if len(labels) != 6 {
		return netip.Addr{}
	}
	slices.Reverse(labels[:4])
	a, _ := netip.ParseAddr(strings.Join(labels[:4], "."))
	return a
}

// target is the verdict on a name that the answer for another name leads to.
func (m *model) target(asked, name string, client netip.Addr, now time.Time) modelVerdict {
	without := m.lists(covers(asked, true))
	maps.Copy(without, m.lists(covers(name, true)))
	return m.verdict(client, now, without, covers(name, false))
}

// addr is the same for an address.
func (m *model) addr(asked string, a netip.Addr, client netip.Addr, now time.Time) modelVerdict {
	listed := func(e modelEntry) bool { return e.name == "" && e.prefix.Contains(a) }
	return m.verdict(client, now, m.lists(covers(asked, true)), listed)
}

// covers returns the entries that list a name, or except it.
func covers(name string, except bool) func(modelEntry) bool {
	name = fold(name)
	return func(e modelEntry) bool {
		if e.name == "" || e.except != except {
			return false
		}
		switch e.match {
		case entry.Exact:
			return e.name == name
		case entry.Below:
			return e.name != name && dns.IsSubDomain(e.name, name)
		}
		return dns.IsSubDomain(e.name, name)
	}
}

// lists are those with such entries.
func (m *model) lists(of func(modelEntry) bool) map[string]bool {
	lists := map[string]bool{}
	for _, e := range m.entries {
		if of(e) {
			lists[e.list] = true
		}
	}
	return lists
}

func (m *model) verdict(client netip.Addr, now time.Time, without map[string]bool, listed func(modelEntry) bool) modelVerdict {
	lists := m.lists(listed)
	maps.DeleteFunc(lists, func(id string, _ bool) bool { return without[id] })
	var v modelVerdict
	if len(lists) == 0 {
		return v
	}
	group := m.group(client)
	applies := func(groups, of []string, effective, expires time.Time) bool {
		return (slices.Contains(groups, blocklists.GroupAll) || group != "" && slices.Contains(groups, group)) &&
			slices.ContainsFunc(of, func(id string) bool { return lists[id] }) &&
			!now.Before(effective) && (expires.IsZero() || now.Before(expires))
	}
	for _, e := range m.policy.Exceptions {
		v.allowed = v.allowed || applies(e.Groups, e.Lists, e.Effective, e.Expires)
	}
	for _, b := range m.policy.Bans {
		mode, ok := b.Modes[group]
		if !ok {
			mode = b.Mode
		}
		if mode != blocklists.Off && applies(b.Groups, b.Lists, b.Effective, b.Expires) {
			v.banned = v.banned || mode == blocklists.Enforce
			v.monitored = v.monitored || mode == blocklists.Monitor
		}
	}
	v.banned = v.banned && !v.allowed
	v.monitored = v.monitored && !v.allowed && !v.banned
	return v
}
