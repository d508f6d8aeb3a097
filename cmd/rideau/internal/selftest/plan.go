package selftest

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"rideau/blocklists"
	"rideau/blocklists/enforced"
	"rideau/blocklists/entry"
	"rideau/resolver/wire"
)

// Question is one that a ban decides.
type Question struct {
	Ban   string
	Group string // whose clients are blocked; GroupAll: those of no group
	Name  wire.Name
	// Client is an address of the group.
	Client netip.Addr
	Claims *blocklists.Claims // that lead to the group, if the address does not
	// want is what the policy decides.
	want blocklists.Verdict
}

// Untested is a ban, or one group of it, for which there is no question, and why.
type Untested struct {
	Ban   string `json:"ban"`
	Group string `json:"group,omitempty"`
	Why   string `json:"why"`
}

// maxCandidates is how many entries of a ban's lists are tried as its question.
const maxCandidates = 200

// plan chooses, for each ban in force and each group for which it is enforced, a
// question that it decides. serves reports whether a client is answered at all.
func plan(s *blocklists.Snapshot, serves func(netip.Addr) bool) (questions []Question, untested []Untested) {
	groups := s.Policy().Groups
	clients, claims := make([]netip.Addr, len(groups)+1), make([]*blocklists.Claims, len(groups)+1)
	for g := range clients {
		clients[g], claims[g] = clientOf(s, blocklists.GroupID(g), serves)
	}
	for i, b := range s.Bans() {
		if !b.Active {
			continue
		}
		left := map[blocklists.GroupID]bool{}
		for _, name := range enforced.Groups(s, b.Ban.ID) {
			if g := s.GroupNamed(name); clients[g].IsValid() {
				left[g] = true
			}
		}
		try := func(name *wire.Name) {
			for g := range left {
				ask := blocklists.Ask{Name: name, Type: wire.TypeA, Client: clients[g], Group: g}
				if v := s.Question(&ask); v.Kind == blocklists.Block && !v.Wait && int(v.Ban) == i {
					questions = append(questions, Question{Ban: b.Ban.ID, Group: s.GroupName(g), Name: *name, Client: clients[g], Claims: claims[g], want: v})
					delete(left, g)
				}
			}
		}
		why := "none of the first names of its lists is one that this ban alone decides; write the name to ask for in the ban's canary"
		if b.Ban.Canary != "" {
			var n wire.Name
			if err := n.SetText(b.Ban.Canary); err == nil {
				try(&n)
			}
			why = "its canary, " + b.Ban.Canary + ", is not what this ban decides"
		} else if len(left) > 0 {
			if len(b.Ban.AllBut) > 0 {
				var n wire.Name
				if n.SetText(unlisted) == nil {
					try(&n)
				}
				why = "its lists let " + unlisted + " through; write the name to ask for in the ban's canary"
			}
			candidates(s, b.Ban.Lists, func(n *wire.Name) bool { try(n); return len(left) > 0 })
		}
		for g := range left {
			untested = append(untested, Untested{Ban: b.Ban.ID, Group: s.GroupName(g), Why: why})
		}
	}
	return questions, untested
}

// unlisted is a name that is on no list. It is asked for only where a ban is on all names but those on its lists, and then goes nowhere.
const unlisted = "rideau-selftest.example.net"

// errEnough ends the reading of lists.
var errEnough = errors.New("enough")

// candidates calls f with names that the first entries of lists name, until it
// returns false.
func candidates(s *blocklists.Snapshot, lists []string, f func(*wire.Name) bool) {
	p := s.Policy()
	for i := range p.Lists {
		if !slices.Contains(lists, p.Lists[i].ID) {
			continue
		}
		left, ended := maxCandidates, false
		// The error only ends the reading.
		_ = p.Lists[i].Each(func(_ string, x *entry.Entry) error {
			if left--; left < 0 || ended {
				return errEnough
			}
			if x.Name == nil || x.Match == entry.Below {
				return nil
			}
			var n wire.Name
			if n.SetText(wire.NameString(x.Name)) != nil {
				return nil
			}
			if ended = !f(&n); ended {
				return errEnough
			}
			return nil
		})
		if ended {
			return
		}
	}
}

// strangers are addresses for documentation (RFC 5737, RFC 3849), which stand for
// clients of no group.
var strangers = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback(), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// clientOf returns an address of a group that is answered, with claims if the group has none of its own; it is invalid if none
// is found.
func clientOf(s *blocklists.Snapshot, g blocklists.GroupID, serves func(netip.Addr) bool) (netip.Addr, *blocklists.Claims) {
	if a := addressOf(s, g, serves); a.IsValid() || g == 0 {
		return a, nil
	}
	x := &s.Policy().Groups[g-1]
	all := []*blocklists.Claims{{Path: x.Path, Name: x.Name}}
	for _, c := range x.Certificates {
		all = append(all, &blocklists.Claims{SANs: []string{strings.Replace(c.SAN, "*", "selftest", 1)}, Issuers: []string{c.Issuer}})
	}
	for _, c := range all {
		for from := range blocklists.GroupID(len(s.Policy().Groups) + 1) {
			if a := addressOf(s, from, serves); a.IsValid() && s.Group(a, c) == g {
				return a, c
			}
		}
	}
	return netip.Addr{}, nil
}

// addressOf returns an address of a group that is answered; it is invalid if none is found.
func addressOf(s *blocklists.Snapshot, g blocklists.GroupID, serves func(netip.Addr) bool) netip.Addr {
	fits := func(a netip.Addr) bool { return a.IsValid() && s.Group(a, nil) == g && serves(a) }
	if g == 0 {
		for _, a := range strangers {
			if fits(a) {
				return a
			}
		}
		return netip.Addr{}
	}
	for _, p := range s.Policy().Groups[g-1].Clients {
		for _, a := range []netip.Addr{p.Masked().Addr(), p.Masked().Addr().Next(), last(p)} {
			if fits(a) {
				return a
			}
		}
	}
	return netip.Addr{}
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
