package reason

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/cmd/rideau/internal/text"
	"rideau/resolver/wire"
)

// Near is why a ban or an exception that names what was asked does not decide about it.
type Near string

// Reasons.
const (
	NearOff        Near = "off"         // the ban's mode for the client's group is off
	NearOtherGroup Near = "other-group" // the ban or the exception is for other groups: Groups
	NearNotYet     Near = "not-yet"     // it begins later: Date
	NearExpired    Near = "expired"     // it is over: Date
	NearTier       Near = "tier"        // the list has the name in a tier that it does not use: Tier
)

// NearMiss is a ban or an exception that almost decides. Exactly one of Ban and Exception is set.
type NearMiss struct {
	Code      Near     `json:"code"`
	Ban       string   `json:"ban,omitempty"`
	Exception string   `json:"exception,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Date      string   `json:"date,omitempty"`
	Tier      string   `json:"tier,omitempty"`
	// ForGroup says that the mode off is that of the client's group alone.
	ForGroup bool `json:"for_group,omitempty"`
	// Rule is the entry that names what was asked.
	Rule *DecidedBy `json:"rule,omitempty"`
}

// near returns the bans that name what was asked and do not block it, and if it is blocked, the exceptions that name it and do not let it
// through. A ban that has more than one reason has one NearMiss for each.
func near(snap *blocklists.Snapshot, q *blocklists.Ask, kind blocklists.Kind, now time.Time) []NearMiss {
	var out []NearMiss
	group := snap.GroupName(q.Group)
	p := snap.Policy()
	add := func(m NearMiss, lists []string, reasons []NearMiss) {
		if len(reasons) == 0 {
			return
		}
		named := snap.Naming(lists)
		v := named.Question(q)
		if v.Kind != blocklists.Block {
			return
		}
		rule := decided(snap, q, v)
		for _, r := range reasons {
			r.Ban, r.Exception, r.Rule = m.Ban, m.Exception, rule
			out = append(out, r)
		}
	}
	if kind != blocklists.Block {
		for i := range p.Bans {
			b := &p.Bans[i]
			add(NearMiss{Ban: b.ID}, b.Lists, outside(b.Effective, b.Expires, now, missesGroup(snap, b.Groups, group), off(b, group)))
		}
		if kind != blocklists.WouldBlock {
			out = append(out, tiers(snap, q)...)
		}
		return out
	}
	for i := range p.Exceptions {
		e := &p.Exceptions[i]
		add(NearMiss{Exception: e.ID}, e.Lists, outside(e.Effective, e.Expires, now, missesGroup(snap, e.Groups, group), nil))
	}
	return out
}

// outside returns the reasons for which what has these dates does not apply. groups are those that it is for, if the client is in none of them.
func outside(effective, expires, now time.Time, groups []string, off *NearMiss) []NearMiss {
	var out []NearMiss
	if off != nil {
		out = append(out, *off)
	}
	if len(groups) > 0 {
		out = append(out, NearMiss{Code: NearOtherGroup, Groups: groups})
	}
	if now.Before(effective) {
		out = append(out, NearMiss{Code: NearNotYet, Date: text.Date(effective)})
	}
	if !expires.IsZero() && !now.Before(expires) {
		out = append(out, NearMiss{Code: NearExpired, Date: text.Date(expires)})
	}
	return out
}

// off returns the reason if a ban's mode is off for a group.
func off(b *blocklists.Ban, group string) *NearMiss {
	m, own := b.Modes[group]
	if !own {
		m = b.Mode
	}
	if m != blocklists.Off {
		return nil
	}
	return &NearMiss{Code: NearOff, ForGroup: own && b.Mode != blocklists.Off}
}

// missesGroup returns groups, if a client's group is none of them.
func missesGroup(snap *blocklists.Snapshot, groups []string, group string) []string {
	for _, g := range groups {
		if g == blocklists.GroupAll || g == group {
			return nil
		}
	}
	if slices.Contains(groups, blocklists.GroupEnforced) {
		for _, b := range snap.Bans() {
			mode, ok := b.Ban.Modes[group]
			if !ok {
				mode = b.Ban.Mode
			}
			if b.Active && mode == blocklists.Enforce && (slices.Contains(b.Ban.Groups, blocklists.GroupAll) || slices.Contains(b.Ban.Groups, group)) {
				return nil
			}
		}
	}
	return groups
}

// tiers returns the lists in the pack format that have what was asked in a tier which they do not use.
func tiers(snap *blocklists.Snapshot, q *blocklists.Ask) []NearMiss {
	var out []NearMiss
	p := snap.Policy()
	for i, info := range snap.Lists() {
		if info.Format != format.Pack {
			continue
		}
		used := p.Lists[i].Tiers
		if len(used) == 0 {
			used = []string{"service", "web", "cdn"}
		}
		for _, tier := range []string{"service", "web", "cdn", "shared"} {
			if slices.Contains(used, tier) {
				continue
			}
			l := p.Lists[i]
			l.Tiers = []string{tier}
			rule := &DecidedBy{List: l.ID}
			// The error only ends the reading.
			_ = l.Each(func(file string, x *entry.Entry) error {
				if fits(x, q, blocklists.Verdict{Kind: blocklists.Block}) < 0 {
					return nil
				}
				rule.of(file, x)
				return errFound
			})
			if rule.Entry == "" {
				continue
			}
			for _, b := range p.Bans {
				if slices.Contains(b.Lists, l.ID) {
					out = append(out, NearMiss{Code: NearTier, Ban: b.ID, Tier: tier, Rule: rule})
				}
			}
		}
	}
	return out
}

// of notes an entry.
func (d *DecidedBy) of(file string, x *entry.Entry) {
	d.File, d.Line = file, x.Line
	if d.Match = x.Match.String(); x.Name == nil {
		d.Entry, d.Match = x.Prefix.String(), "address"
		return
	}
	d.Entry = strings.TrimSuffix(wire.NameString(x.Name), ".")
}

// decided reads the list that decides again to find the line: that of the name in
// the verdict, or else that of the longest name or block of addresses that fits.
func decided(s *blocklists.Snapshot, q *blocklists.Ask, v blocklists.Verdict) *DecidedBy {
	l := &s.Policy().Lists[v.List]
	out := &DecidedBy{List: l.ID, File: l.Source}
	listed := q.Name.Suffix(int(v.Labels))
	best := -1
	longest := v.Labels == 0
	if !longest {
		out.Entry = strings.TrimSuffix(wire.NameString(listed), ".")
	}
	// The error only ends the reading.
	_ = l.Each(func(file string, x *entry.Entry) error {
		length := fits(x, q, v)
		switch {
		case longest && length <= best, !longest && !bytes.Equal(x.Name, listed), length < 0:
			return nil
		}
		best = length
		if out.of(file, x); longest {
			return nil
		}
		return errFound
	})
	return out
}

// fits returns how much of the question an entry covers: more for a longer
// name or prefix; -1 if it does not cover it.
func fits(x *entry.Entry, q *blocklists.Ask, v blocklists.Verdict) int {
	trigger := entry.OnAnswer
	if x.Rule != nil {
		trigger = x.Rule.Trigger
		if x.Rule.Except && v.Kind != blocklists.Allow || x.Rule.Cancel {
			return -1
		}
	}
	if v.Labels == 0 && trigger != v.Trigger {
		return -1
	}
	if x.Name == nil {
		address := q.Client
		if trigger == entry.OnAnswer {
			address, _ = text.ReverseAddress(q.Name)
		}
		if trigger == entry.OnAnswer || trigger == entry.OnClient {
			if address.IsValid() && x.Prefix.Contains(address) {
				return x.Prefix.Bits()
			}
		}
		return -1
	}
	self := bytes.Equal(x.Name, q.Name.Bytes())
	if !q.Name.IsSubdomain(x.Name) || self && x.Match == entry.Below || !self && x.Match == entry.Exact {
		return -1
	}
	return 2*len(x.Name) + int(x.Match)%2
}

// AddressVerdict says what becomes of answers that have an address.
type AddressVerdict struct {
	Address string     `json:"address"`
	Verdict string     `json:"verdict"` // banned, monitored, excepted or forwarded
	Ban     string     `json:"ban,omitempty"`
	Except  string     `json:"exception,omitempty"`
	Rule    *DecidedBy `json:"rule,omitempty"`
	// Kind is the verdict's.
	Kind blocklists.Kind `json:"-"`
}

// address is the verdict on an address in an answer to q's client.
func address(snap *blocklists.Snapshot, q *blocklists.Ask, a netip.Addr) *AddressVerdict {
	v := snap.Addr(a, q.Group)
	out := &AddressVerdict{Address: a.String(), Verdict: "forwarded", Kind: v.Kind}
	switch v.Kind {
	case blocklists.Pass:
		return out
	case blocklists.Allow:
		out.Verdict, out.Except = "excepted", snap.Policy().Exceptions[v.Exception].ID
	case blocklists.Block:
		out.Verdict = "banned"
	case blocklists.WouldBlock:
		out.Verdict = "monitored"
	}
	if v.Kind != blocklists.Allow || v.Overruled {
		out.Ban = snap.Ban(v.Ban).ID
	}
	out.Rule = decided(snap, q, v)
	return out
}
