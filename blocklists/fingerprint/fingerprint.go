// Package fingerprint tells whether two policies decide alike.
package fingerprint

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/blocklists/extratext"
	"rideau/blocklists/format"
	"rideau/blocklists/group"
)

// Of returns a digest of all that decides in a policy, and of what answers by it contain, in hex:
//
//   - the entries of the lists that bans and exceptions use, in any order, by the ids of the lists,
//   - the bans in their order: id, titles and contact (which are in answers), mode, modes, dates, groups, lists, all_but, action, cname,
//     sinkhole, ede, sub-error, ttl, bypass, strip_ech and unknown_types,
//   - the exceptions in their order: id, dates, groups and lists,
//   - the structured errors that clients can ask for, and the groups that are led to the block page,
//   - the groups and how clients belong to them, the prefixes of NAT64, and the protected names.
//
// Two servers of the same version that have the same policy have the same fingerprint, wherever their files are, however those are written,
// and whenever they were read. What only explains (authority, instrument, url, reason, ticket, approver) is not part of it. Nor is the time:
// a ban that begins changes what is answered, and not the policy.
func Of(s *blocklists.Snapshot) string {
	p := s.Policy()
	all := policy{NAT64: prefixes(p.NAT64)}
	if p.Errors.Version != extratext.None {
		all.Errors = &p.Errors
	}
	used := map[string]bool{}
	for i := range p.Bans {
		all.Bans = append(all.Bans, banOf(&p.Bans[i]))
		mark(used, p.Bans[i].Uses())
		if p.Bans[i].Page {
			all.PageGroups = sorted(p.PageGroups)
		}
	}
	for i := range p.Exceptions {
		e := &p.Exceptions[i]
		all.Exceptions = append(all.Exceptions, exception{e.ID, e.Effective.UTC(), e.Expires.UTC(), sorted(e.Groups), e.Lists})
		mark(used, e.Lists)
	}
	for _, g := range p.Groups {
		all.Groups = append(all.Groups, clients{g.ID, prefixes(g.Clients), g.Certificates, g.Path, g.Name, g.MayWeaken})
	}
	slices.SortFunc(all.Groups, func(a, b clients) int { return strings.Compare(a.ID, b.ID) })
	for i, l := range s.Lists() {
		if !used[l.ID] {
			continue
		}
		x := list{ID: l.ID, Entries: fmt.Sprintf("%x", l.Digest), Zone: l.Format == format.RPZ}
		if guard := p.Lists[i].Guards.Protected; guard != nil {
			x.Protected = guard.Names()
		}
		all.Lists = append(all.Lists, x)
	}
	slices.SortFunc(all.Lists, func(a, b list) int { return strings.Compare(a.ID, b.ID) })
	text, err := json.Marshal(all)
	if err != nil {
		panic(fmt.Sprintf("fingerprint: %v", err)) // every field has a form in JSON
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// policy is what the digest is made of, in one form for all policies that decide alike.
type policy struct {
	NAT64      []string
	Groups     []clients
	Bans       []ban
	Exceptions []exception
	Lists      []list
	Errors     *extratext.Structured `json:",omitempty"`
	PageGroups []string              `json:",omitempty"` // if a ban leads to the block page
}

type clients struct {
	ID           string
	Clients      []string
	Certificates []group.Certificate `json:",omitempty"`
	Path         string              `json:",omitempty"`
	Name         string              `json:",omitempty"`
	MayWeaken    bool                `json:",omitempty"`
}

type ban struct {
	ID, TitleEN, TitleFR, Contact  string
	Effective, Expires             time.Time
	Mode                           string
	Modes                          map[string]string
	Action                         string
	CNAME                          []byte
	Sinkhole4, Sinkhole6           netip.Addr
	EDE                            uint16
	TTL                            time.Duration
	SubError                       extratext.SubError `json:",omitempty"`
	Page                           bool               `json:",omitempty"`
	Groups, Lists                  []string
	AllBut                         []string `json:",omitempty"`
	Bypass, StripECH, UnknownTypes bool
}

type exception struct {
	ID                 string
	Effective, Expires time.Time
	Groups, Lists      []string
}

type list struct {
	ID        string
	Entries   string
	Zone      bool
	Protected []string
}

func banOf(b *blocklists.Ban) ban {
	out := ban{ID: b.ID, TitleEN: b.TitleEN, TitleFR: b.TitleFR, Contact: b.Contact, Effective: b.Effective.UTC(), Expires: b.Expires.UTC(),
		Mode: b.Mode.String(), Modes: map[string]string{}, Action: b.Action.String(), CNAME: b.CNAME, Sinkhole4: b.Sinkhole4,
		Sinkhole6: b.Sinkhole6, EDE: b.EDE, TTL: b.TTL, Groups: sorted(b.Groups), Lists: b.Lists, AllBut: b.AllBut, Bypass: b.Bypass, StripECH: b.StripECH,
		UnknownTypes: b.UnknownTypes, SubError: b.SubError, Page: b.Page}
	for g, m := range b.Modes {
		if m != b.Mode {
			out.Modes[g] = m.String()
		}
	}
	return out
}

func mark(used map[string]bool, ids []string) {
	for _, id := range ids {
		used[id] = true
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func prefixes(all []netip.Prefix) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return sorted(out)
}
