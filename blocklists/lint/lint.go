// Package lint finds what makes lists worse over the years: entries that
// repeat others, that no query ever matches, or that cover too much. It also finds names
// that clients ask for and that may belong to the banned ones, since they are in the same domain.
//
// It reads lists more than once, so as not to hold them in memory. It takes about twenty
// octets for each entry, and, with logs, about forty for each domain of an entry
// and each name that was asked for.
package lint

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"rideau/blocklists"
	"rideau/blocklists/entry"
	"rideau/blocklists/format/syntax"
	"rideau/resolver/wire"
)

// Report is what was found. Counts include all; of each kind there are some examples.
type Report struct {
	Entries int `json:"entries"` // of names, in lists that a ban uses
	// Shadowed entries have another above them in the same ban that covers all
	// names that they cover.
	Shadowed Finding `json:"shadowed"`
	// Repeated entries are in the same ban more than once.
	Repeated Finding `json:"repeated"`
	// Public entries are suffixes under which anybody can have a name.
	Public Finding `json:"public"`
	// Unmet entries cover no name of the logs. It is empty without logs.
	Unmet Finding `json:"unmet"`
	// Asked is the number of different names in the logs.
	Asked int `json:"asked"`
	// Siblings are names that were asked for and are not banned, in a domain that
	// has a banned name.
	Siblings []Sibling `json:"siblings"`
	// MoreSiblings is how many there are beyond Siblings.
	MoreSiblings int `json:"more_siblings"`
}

// Finding is entries of one kind.
type Finding struct {
	Count    int       `json:"count"`
	Examples []Example `json:"examples"`
}

// Example is an entry, and where it is.
type Example struct {
	Entry string `json:"entry"`
	List  string `json:"list"`
	File  string `json:"file"`
	Line  int    `json:"line"`
	// By is the entry that covers it, with Shadowed.
	By string `json:"by,omitempty"`
}

// Sibling is a name in a domain that has banned ones.
type Sibling struct {
	Name    string `json:"name"`
	Queries int    `json:"queries"`
	Beside  string `json:"beside"` // an entry of the same registrable domain
	File    string `json:"file"`
	Line    int    `json:"line"`
}

// Log calls each for each name that was asked for. A name may come any number of
// times, and is valid until each returns.
type Log func(each func(name *wire.Name)) error

// Options bound a report.
type Options struct {
	Examples int // of each kind; negative is all
	Log      Log // nil: none
}

// maxAsked bounds the different names of a log. Further ones are ignored.
const maxAsked = 4 << 20

// Check checks the lists of a policy's bans. It returns an error if a list or the log cannot be read.
func Check(ctx context.Context, s *blocklists.Snapshot, o Options) (*Report, error) {
	h := linter{ctx: ctx, s: s, o: o, seed: maphash.MakeSeed(), r: &Report{Siblings: []Sibling{}}}
	for _, f := range []*Finding{&h.r.Shadowed, &h.r.Repeated, &h.r.Public, &h.r.Unmet} {
		f.Examples = []Example{}
	}
	if err := h.collect(); err != nil {
		return nil, err
	}
	if o.Log != nil {
		if err := h.readLog(); err != nil {
			return nil, err
		}
	}
	if err := h.classify(); err != nil {
		return nil, err
	}
	return h.r, nil
}

// linter is the state of one Check.
type linter struct {
	ctx  context.Context
	s    *blocklists.Snapshot
	o    Options
	seed maphash.Seed
	r    *Report
	n    int // entries that were read

	// keys are the entries, by the hash of ban, match and name; sorted, each once.
	keys []uint64
	met  []bool // by the index in keys: a name of the logs matches the entry
	seen []bool // by the index in keys: classify has seen the entry
	// domains are the registrable domains of entries that do not cover the
	// whole of them, with the first such entry.
	domains map[uint64]place
	files   []string
	asked   map[uint64]asked // by the hash of the name
	// beside are the places of Report.Siblings.
	beside map[place][]int
}

// place is a line of one of the files.
type place struct{ file, line uint32 }

// place returns the place of an entry.
func (h *linter) place(file string, line int) place {
	if n := len(h.files); n > 0 && h.files[n-1] == file {
		return place{uint32(n - 1), uint32(line)}
	}
	i := slices.Index(h.files, file)
	if i < 0 {
		i = len(h.files)
		h.files = append(h.files, strings.Clone(file))
	}
	return place{uint32(i), uint32(line)}
}

// asked is a name that is not banned, in a domain that has banned names, and how often it was asked for.
type asked struct {
	name    string
	domain  uint64
	queries int
}

// key returns the hash of an entry.
func (h *linter) key(ban int, m entry.Match, name []byte) uint64 {
	return maphash.Bytes(h.seed, name) ^ uint64(ban+1)*0x9E3779B97F4A7C15 ^ uint64(m+1)*0xC2B2AE3D27D4EB4F
}

// bans returns, by the id of a list, the first ban that uses it.
func (h *linter) bans() map[string]int {
	out := map[string]int{}
	for i := range h.s.Policy().Bans {
		for _, l := range h.s.Policy().Bans[i].Lists {
			if _, ok := out[l]; !ok {
				out[l] = i
			}
		}
	}
	return out
}

// each calls f for the entries of names of all lists that bans use.
func (h *linter) each(f func(ban int, list, file string, e *entry.Entry)) error {
	bans := h.bans()
	for i := range h.s.Policy().Lists {
		l := &h.s.Policy().Lists[i]
		ban, ok := bans[l.ID]
		if !ok {
			continue
		}
		err := l.Each(func(file string, e *entry.Entry) error {
			if h.n++; h.n&0xFFF == 0 && h.ctx.Err() != nil {
				return h.ctx.Err()
			}
			if plain(e) {
				f(ban, l.ID, file, e)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", l.ID, err)
		}
	}
	return nil
}

// plain reports whether an entry says only that a name is
// banned.
func plain(e *entry.Entry) bool {
	if e.Name == nil {
		return false
	}
	r := e.Rule
	return r == nil || r.Trigger == entry.OnAnswer && (r.Action == entry.Listed || r.Action == entry.NXDomain) && !r.Except && !r.Cancel && r.Types == nil
}

// collect stores the keys of all entries, and the domains of those that do not cover a whole one.
func (h *linter) collect() error {
	if h.o.Log != nil {
		h.domains = map[uint64]place{}
	}
	err := h.each(func(ban int, _, file string, e *entry.Entry) {
		h.r.Entries++
		h.keys = append(h.keys, h.key(ban, e.Match, e.Name))
		if h.domains == nil {
			return
		}
		if d, whole := h.domain(e.Name); d != 0 && !(whole && e.Match == entry.Suffix) {
			if _, ok := h.domains[d]; !ok {
				h.domains[d] = h.place(file, e.Line)
			}
		}
	})
	slices.Sort(h.keys)
	h.keys = slices.Compact(h.keys)
	h.met, h.seen = make([]bool, len(h.keys)), make([]bool, len(h.keys))
	return err
}

// domain returns the hash of a name's registrable domain, 0 if it has none, and whether the
// name is that domain.
func (h *linter) domain(name []byte) (hash uint64, whole bool) {
	s := strings.TrimSuffix(wire.NameString(name), ".")
	d, err := publicsuffix.EffectiveTLDPlusOne(s)
	if err != nil {
		return 0, false
	}
	return maphash.String(h.seed, d) | 1, d == s
}

// find returns the index of an entry in keys; -1 if it is not there.
func (h *linter) find(key uint64) int {
	if i, ok := slices.BinarySearch(h.keys, key); ok {
		return i
	}
	return -1
}

// readLog marks the entries that cover names of the logs, and finds the
// siblings.
func (h *linter) readLog() error {
	h.asked = map[uint64]asked{}
	names := map[uint64]struct{}{}
	everyone := h.s.Everyone()
	err := h.o.Log(func(name *wire.Name) {
		k := maphash.Bytes(h.seed, name.Bytes())
		if a, ok := h.asked[k]; ok {
			a.queries++
			h.asked[k] = a
			return
		}
		if _, ok := names[k]; ok || len(names) >= maxAsked {
			return
		}
		names[k] = struct{}{}
		for ban := range h.s.Policy().Bans {
			for n := 1; n <= name.Labels(); n++ {
				matches := []entry.Match{entry.Suffix, entry.Below}
				if n == name.Labels() {
					matches = []entry.Match{entry.Suffix, entry.Exact}
				}
				for _, m := range matches {
					if i := h.find(h.key(ban, m, name.Suffix(n))); i >= 0 {
						h.met[i] = true
					}
				}
			}
		}
		if d, _ := h.domain(name.Bytes()); d != 0 && passes(h.s.Name(name, everyone)) {
			if _, ok := h.domains[d]; ok {
				h.asked[k] = asked{strings.TrimSuffix(name.String(), "."), d, 1}
			}
		}
	})
	h.r.Asked = len(names)
	all := make([]asked, 0, len(h.asked))
	for _, a := range h.asked {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b asked) int { return cmp.Or(b.queries-a.queries, cmp.Compare(a.name, b.name)) })
	if n := len(all); h.o.Examples >= 0 && n > h.o.Examples {
		all, h.r.MoreSiblings = all[:h.o.Examples], n-h.o.Examples
	}
	h.beside = map[place][]int{}
	for i, a := range all {
		p := h.domains[a.domain]
		h.r.Siblings = append(h.r.Siblings, Sibling{Name: a.name, Queries: a.queries, File: h.files[p.file], Line: int(p.line)})
		h.beside[p] = append(h.beside[p], i)
	}
	return err
}

// passes reports whether no entry decides about a name.
func passes(v blocklists.Verdict) bool { return v.Kind == blocklists.Pass || v.Unlisted }

// classify reads the entries again, and reports each as what it is.
func (h *linter) classify() error {
	return h.each(func(ban int, list, file string, e *entry.Entry) {
		if len(h.beside) > 0 {
			for _, i := range h.beside[h.place(file, e.Line)] {
				h.r.Siblings[i].Beside = cmp.Or(h.r.Siblings[i].Beside, text(e))
			}
		}
		x := Example{Entry: text(e), List: list, File: file, Line: e.Line}
		i := h.find(h.key(ban, e.Match, e.Name))
		if h.seen[i] {
			h.report(&h.r.Repeated, x)
			return
		}
		h.seen[i] = true
		if by := h.above(ban, e); by != "" {
			x.By = by
			h.report(&h.r.Shadowed, x)
		}
		x.By = ""
		if e.Match != entry.Exact && syntax.IsPublicSuffix(e.Name) {
			h.report(&h.r.Public, x)
		}
		if h.asked != nil && !h.met[i] {
			h.report(&h.r.Unmet, x)
		}
	})
}

// report adds an entry to a finding.
func (h *linter) report(f *Finding, x Example) {
	if f.Count++; h.o.Examples < 0 || len(f.Examples) < h.o.Examples {
		f.Examples = append(f.Examples, x)
	}
}

// above returns an entry of the same ban that covers all that e covers; empty if
// there is none.
func (h *linter) above(ban int, e *entry.Entry) string {
	if e.Match != entry.Suffix && h.find(h.key(ban, entry.Suffix, e.Name)) >= 0 {
		return shown(entry.Suffix, e.Name)
	}
	for up := e.Name; len(up) > 1; {
		up = up[1+up[0]:]
		for _, m := range [...]entry.Match{entry.Suffix, entry.Below} {
			if h.find(h.key(ban, m, up)) >= 0 {
				return shown(m, up)
			}
		}
	}
	return ""
}

func text(e *entry.Entry) string { return shown(e.Match, e.Name) }

// shown returns an entry as plain lists have it.
func shown(m entry.Match, w []byte) string {
	name := strings.TrimSuffix(wire.NameString(w), ".")
	switch m {
	case entry.Exact:
		return "=" + name
	case entry.Below:
		return "*." + name
	}
	return name
}
