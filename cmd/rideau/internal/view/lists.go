package view

import (
	"cmp"
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"rideau/blocklists"
	"rideau/cmd/rideau/internal/reason"
	"rideau/resolver/ops"
)

// Lists are the lists of the policy.
type Lists struct {
	At    time.Time `json:"at"`
	Lists []List    `json:"lists"`
	// Last is the last reload that changed something or was refused; nil: none since
	// the start.
	Last *Reload `json:"last_reload"`
}

// List is a list and how it was read.
type List struct {
	ID      string `json:"id"`
	Source  string `json:"source"`
	Format  string `json:"format"`
	Entries int    `json:"entries"`
	SHA256  string `json:"sha256"`
	// LoadedAt is when its content was last read and found good.
	LoadedAt time.Time `json:"loaded_at"`
	Serial   uint64    `json:"serial,omitempty"`
	// Remote: it is downloaded. LastFetch is when it was last found there, Fetches how
	// many downloads there were by result.
	Remote    bool              `json:"remote"`
	LastFetch time.Time         `json:"last_fetch,omitzero"`
	Fetches   map[string]uint64 `json:"fetches,omitempty"`
	// LastGood is why the last good copy serves.
	LastGood string `json:"last_good,omitempty"`
	// Skipped lines could not be used; NotDNS lines are not about names.
	Skipped int                 `json:"skipped"`
	NotDNS  int                 `json:"not_dns"`
	Reasons []reason.SkippedFor `json:"reasons"`
	Bans    []string            `json:"bans"`       // that use it
	Excepts []string            `json:"exceptions"` // that use it
	// Change is the last change since the start; nil: there was none.
	Change *ListChange `json:"last_change"`
	// Problems are what the last reload says of it.
	Problems []ops.Problem `json:"problems"`
}

// Lists returns the lists.
func (v *View) Lists() *Lists {
	out := &Lists{At: v.o.Now(), Lists: []List{}, Last: v.Last()}
	p := v.policy()
	if p == nil {
		return out
	}
	v.reload.follow(p, out.At)
	v.reload.mu.Lock()
	changes := maps.Clone(v.reload.changes)
	v.reload.mu.Unlock()
	remote := map[string]int{}
	sources := v.listSources()
	for i, s := range sources {
		remote[s.ID] = i
	}
	for _, l := range p.Lists() {
		x := listOf(p, l)
		if i, ok := remote[l.ID]; ok {
			s := sources[i]
			x.Remote, x.LastFetch, x.Fetches, x.LastGood = s.Remote, s.LastFetch, s.Fetches, s.LastGood
		}
		if c, ok := changes[l.ID]; ok {
			x.Change = &c
		}
		if out.Last != nil {
			for _, problem := range out.Last.Problems {
				if problem.List == l.ID {
					x.Problems = append(x.Problems, problem)
				}
			}
		}
		out.Lists = append(out.Lists, x)
	}
	slices.SortStableFunc(out.Lists, func(a, b List) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// listSources returns what is known of where lists come from.
func (v *View) listSources() []List {
	var out []List
	if v.o.Sources.Lists == nil {
		return nil
	}
	for _, s := range v.o.Sources.Lists() {
		out = append(out, List{ID: s.List, Remote: s.URL, LastFetch: s.LastFetch, Fetches: s.Fetches, LastGood: s.LastGood})
	}
	return out
}

func listOf(p *blocklists.Snapshot, l blocklists.ListInfo) List {
	x := List{ID: l.ID, Source: l.Source, Format: string(l.Format), Entries: l.Entries, SHA256: hex.EncodeToString(l.SHA256[:]), LoadedAt: l.LoadedAt, Serial: l.Serial.Value,
		Skipped: l.Skipped, NotDNS: l.NotDNS, Reasons: []reason.SkippedFor{}, Bans: []string{}, Excepts: []string{}, Problems: []ops.Problem{}}
	for _, r := range l.Reasons {
		x.Reasons = append(x.Reasons, reason.SkippedFor{Reason: r.Reason, Lines: r.Lines})
	}
	for _, b := range p.Policy().Bans {
		if slices.Contains(b.Uses(), l.ID) {
			x.Bans = append(x.Bans, b.ID)
		}
	}
	for _, e := range p.Policy().Exceptions {
		if slices.Contains(e.Lists, l.ID) {
			x.Excepts = append(x.Excepts, e.ID)
		}
	}
	return x
}

// Exceptions are the exceptions of the policy.
type Exceptions struct {
	At         time.Time   `json:"at"`
	Exceptions []Exception `json:"exceptions"`
	History    History     `json:"history"`
}

// Exception is an exception, who asked for it, and how long it holds.
type Exception struct {
	ID        string      `json:"id"`
	Title     string      `json:"title"`
	Reason    string      `json:"reason"`
	Ticket    string      `json:"ticket"`
	Approver  string      `json:"approver"`
	Contact   string      `json:"contact"`
	Active    bool        `json:"active"`
	Why       reason.Near `json:"why,omitempty"` // why it is not
	Groups    []string    `json:"groups"`
	Effective time.Time   `json:"effective,omitzero"`
	Expires   time.Time   `json:"expires,omitzero"`
	Entries   int         `json:"entries"`
	Lists     []string    `json:"lists"`
	Uses      int64       `json:"uses"` // queries that it let through in the last 30 days
}

// Exceptions returns the exceptions: first those that end next, then those without an
// end, then those that are over.
func (v *View) Exceptions(ctx context.Context) *Exceptions {
	out := &Exceptions{At: v.o.Now(), Exceptions: []Exception{}, History: v.past.History(ctx)}
	p := v.policy()
	if p == nil {
		return out
	}
	entries := map[string]int{}
	for _, l := range p.Lists() {
		entries[l.ID] = l.Entries
	}
	for i, e := range p.Policy().Exceptions {
		x := Exception{ID: e.ID, Title: e.Title, Reason: e.Reason, Ticket: e.Ticket, Approver: e.Approver, Contact: e.Contact, Active: p.Excepts(i),
			Groups: append([]string{}, e.Groups...), Effective: e.Effective, Expires: e.Expires, Lists: append([]string{}, e.Lists...)}
		for _, l := range e.Lists {
			x.Entries += entries[l]
		}
		switch {
		case x.Active:
		case out.At.Before(e.Effective):
			x.Why = reason.NearNotYet
		default:
			x.Why = reason.NearExpired
		}
		x.Uses = out.History.Uses(e.ID)
		out.Exceptions = append(out.Exceptions, x)
	}
	slices.SortStableFunc(out.Exceptions, func(a, b Exception) int {
		return cmp.Or(cmp.Compare(order(&a), order(&b)), a.Expires.Compare(b.Expires), strings.Compare(a.ID, b.ID))
	})
	return out
}

func order(e *Exception) int {
	switch {
	case e.Why == reason.NearExpired:
		return 2
	case e.Expires.IsZero():
		return 1
	}
	return 0
}
