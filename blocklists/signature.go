package blocklists

import (
	"fmt"
	"io"
	"strings"

	"rideau/blocklists/format"
)

// Signature tells what binds a group: two groups of one Snapshot with the same
// signature get the same verdict on everything, except that policy zones may have something
// to say about a client's own address.
func (s *Snapshot) Signature(g GroupID) string {
	sc := &s.scopes[g]
	var b strings.Builder
	for i := range s.lists {
		if sc.allow.has(i) {
			fmt.Fprintf(&b, "%s allowed by %s\n", s.lists[i].ID, s.policy.Exceptions[sc.exception[i]].ID)
		}
		if ban := sc.enforceBan[i]; ban != noBan {
			fmt.Fprintf(&b, "%s enforced by %d %s\n", s.lists[i].ID, ban, s.bans[ban].ID)
		}
		if ban := sc.monitorBan[i]; ban != noBan {
			fmt.Fprintf(&b, "%s monitored by %d %s\n", s.lists[i].ID, ban, s.bans[ban].ID)
		}
	}
	fmt.Fprint(&b, sc.zones, sc.stripECH)
	return b.String()
}

// GroupNamed is the group of that id; that of clients of no group for
// GroupAll, and for an id that there is not.
func (s *Snapshot) GroupNamed(id string) GroupID {
	for i := range s.policy.Groups {
		if s.policy.Groups[i].ID == id {
			return GroupID(i + 1)
		}
	}
	return 0
}

// Each reads the list's files and calls f for each entry, with the file that it
// is in, until f returns an error. Lines that cannot be used are passed over. An entry is lent, as
// by format.Read.
func (l *List) Each(f func(file string, e *format.Entry) error) error {
	parts, err := l.Files()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := l.eachOf(p, f); err != nil {
			return err
		}
	}
	return nil
}

func (l *List) eachOf(p Part, f func(file string, e *format.Entry) error) error {
	r, err := p.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	o := format.Options{File: p.Name, Format: l.Format, Tiers: l.Tiers, AllowTLD: l.AllowTLD, MaxSkipped: 1, MaxBytes: l.MaxBytes}
	if l.Include != nil {
		o.Include = func(name string) (io.ReadCloser, error) {
			p, err := l.Include(name)
			if err != nil {
				return nil, err
			}
			return p.Open()
		}
	}
	_, err = format.Read(r, o, func(e format.Entry) error {
		file := p.Name
		if e.File != "" {
			file = e.File
		}
		return f(file, &e)
	})
	return err
}
