package resolvertest

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"rideau/blocklists"
	"rideau/blocklists/format"
	"rideau/resolver/wire"
)

// model is policy as one would first think of it: every entry of every list,
// tried one after the other. It shares the lists' readers with the real one
// and nothing else, and is what answers are held against.
type model struct {
	policy  *policy
	entries []modelEntry
}

type modelEntry struct {
	list   string
	name   string // folded; "" for addresses
	match  format.Match
	prefix netip.Prefix
}

// newModel reads the lists that a successful load has read. Entries that say more
// than that something is listed, as those of policy zones do, are beyond it.
func newModel(p *policy, files map[string]string) (*model, error) {
	m := &model{policy: p}
	for _, l := range p.Lists {
		opt := format.Options{File: l.Source, Format: l.Format, Tiers: l.Tiers, AllowTLD: l.AllowTLD, MaxSkipped: l.MaxSkipped}
		_, err := format.Read(strings.NewReader(files[l.Source]), opt, func(e format.Entry) error {
			if e.Rule != nil {
				return nil
			}
			x := modelEntry{list: l.ID, match: e.Match, prefix: e.Prefix}
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

// verdict is what applies to one name or address. allowed wins over the
// others, and banned over monitored.
type modelVerdict struct {
	allowed, banned, monitored bool
}

func (m *model) name(name string, client netip.Addr, now time.Time) modelVerdict {
	name = fold(name)
	return m.verdict(client, now, func(e modelEntry) bool {
		if e.name == "" {
			return false
		}
		switch e.match {
		case format.Exact:
			return e.name == name
		case format.Below:
			return e.name != name && dns.IsSubDomain(e.name, name)
		}
		return dns.IsSubDomain(e.name, name)
	})
}

func (m *model) addr(a netip.Addr, client netip.Addr, now time.Time) modelVerdict {
	return m.verdict(client, now, func(e modelEntry) bool { return e.name == "" && e.prefix.Contains(a) })
}

func (m *model) verdict(client netip.Addr, now time.Time, names func(modelEntry) bool) modelVerdict {
	lists := map[string]bool{}
	for _, e := range m.entries {
		if names(e) {
			lists[e.list] = true
		}
	}
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
