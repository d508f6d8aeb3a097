// Package pack holds the ban packs that ship with Rideau: lists of the names
// of a product, each with its tier, its purpose and where it was found. They
// are ordinary files in the pack format (see package format), embedded so that
// a fresh machine enforces its bans before anything is configured, and kept in
// this folder so that an operator can read, compare and override them.
package pack

import (
	"embed"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
)

//go:embed *.tsv
var files embed.FS

var names = []string{"doh-address", "doh-bypass", "kaspersky", "tiktok", "wechat"}

// Names returns the names of the packs, sorted.
func Names() []string { return slices.Clone(names) }

// Open opens the pack of that name. The caller closes it.
func Open(name string) (io.ReadCloser, error) {
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("pack %q is unknown; use %s", name, strings.Join(names, ", "))
	}
	return files.Open(name + ".tsv")
}

// Newest returns the date of the newest pack, which its first line ends with.
func Newest() time.Time {
	var newest time.Time
	for _, name := range names {
		text, _ := files.ReadFile(name + ".tsv")
		first, _, _ := strings.Cut(string(text), "\n")
		_, date, _ := strings.Cut(first, ": a ban pack of Rideau, ")
		if at, err := time.Parse("2006-01-02.", date); err == nil && at.After(newest) {
			newest = at
		}
	}
	return newest
}

// File is the name of the pack in messages, instead of a path.
func File(name string) string { return "embedded:" + name + ".tsv" }

// Resolver is a public resolver of the pack doh-address.
type Resolver struct {
	Operator string
	Addrs    []netip.Addr
}

// Resolvers returns the public resolvers of the pack doh-address, of all
// tiers, in the order of the file. The caller owns them.
func Resolvers() ([]Resolver, error) {
	all, err := rows("doh-address")
	if err != nil {
		return nil, err
	}
	var out []Resolver
	for _, r := range all {
		a, err := netip.ParseAddr(r.domain)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", File("doh-address"), err)
		}
		if n := len(out); n == 0 || out[n-1].Operator != r.purpose {
			out = append(out, Resolver{Operator: r.purpose})
		}
		last := &out[len(out)-1]
		last.Addrs = append(last.Addrs, a)
	}
	return out, nil
}

// Canary is a name that browsers or devices ask for to find out whether the network wishes
// to filter. They heed a negative answer, NXDOMAIN or NODATA, and only that:
// an address, no answer, or REFUSED has no effect.
type Canary struct {
	Name    string // without final dot; it stands for the names below it, too
	Purpose string
	Source  string
}

// Canaries returns the canary names of the pack doh-bypass: its rows whose
// purpose begins with "canary: ". The caller owns them.
func Canaries() ([]Canary, error) {
	all, err := rows("doh-bypass")
	if err != nil {
		return nil, err
	}
	var out []Canary
	for _, r := range all {
		if purpose, ok := strings.CutPrefix(r.purpose, "canary: "); ok {
			out = append(out, Canary{r.domain, purpose, r.source})
		}
	}
	return out, nil
}

// row is a pack's row, as text.
type row struct{ domain, match, tier, purpose, source string }

// rows reads a pack's columns. Package format reads what rows mean, and ignores the
// columns purpose and source.
func rows(name string) ([]row, error) {
	text, err := files.ReadFile(name + ".tsv")
	if err != nil {
		return nil, err
	}
	var out []row
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		col := strings.Split(line, "\t")
		if len(col) != 5 {
			return nil, fmt.Errorf("%s: %q has not five columns", File(name), line)
		}
		out = append(out, row{col[0], col[1], col[2], col[3], col[4]})
	}
	return out, nil
}
