package config

import (
	"fmt"
	"slices"
	"strings"
)

// MaxLists is the number of lists that a configuration may have.
const MaxLists = 256

// Format is the syntax of a list.
type Format string

// Formats of lists.
const (
	FormatPlain   Format = "plain"   // one name to a line
	FormatPack    Format = "pack"    // Rideau's ban packs: tab-separated, with tier, purpose and source
	FormatHosts   Format = "hosts"   // hosts(5)
	FormatAdblock Format = "adblock" // the part of adblock syntax that speaks of whole names
	FormatRPZ     Format = "rpz"     // response policy zone
)

// Tier says how closely a name of a ban pack belongs to what is banned.
type Tier string

// Tiers of ban packs.
const (
	TierService Tier = "service" // the service itself
	TierWeb     Tier = "web"     // its web sites
	TierCDN     Tier = "cdn"     // its content delivery
	TierShared  Tier = "shared"  // used by other services too
)

// List is a source of names and addresses. Exactly one of Pack, File and Names is set.
type List struct {
	// ID is what bans and exceptions call the list.
	ID string `key:"id"`
	// Pack is the name of a built-in ban pack.
	Pack string `key:"pack"`
	// File is the path of a list; Load has made it relative to the directory of the configuration file.
	File string `key:"file"`
	// Names are entries in the plain format.
	Names []string `key:"names"`
	// NameLines holds, for each of Names, its line in the configuration file.
	NameLines []int `key:"-"`
	// Format is the syntax of the pack, the file or the names.
	Format Format `key:"format"`
	// Tiers are the tiers whose names count; nil unless Format is FormatPack.
	Tiers []Tier `key:"tiers"`
	// MaxShrink is the share of its entries, 0 to 1, that a reload may take from the list; it is that of Reload if not written here.
	MaxShrink float64 `key:"max_shrink"`
	// MaxSkipped is the share of its lines, 0 to 1, that may be unusable; it is that of Reload if not written here.
	MaxSkipped float64 `key:"max_skipped"`
	// AllowTLD lets entries name a whole top-level domain.
	AllowTLD bool `key:"allow_tld"`
	// Line is where the list begins in its file.
	Line int `key:"-"`
}

// packs are the ban packs that are built in.
func packs() []string { return []string{"wechat", "kaspersky", "tiktok", "doh-bypass"} }

// listReader reads the lists of one file; what a list does not say of its guards, reload does.
func listReader(reload Reload) parse[List] {
	return func(v value) (List, bool) {
		m := v.mapping()
		l := List{MaxShrink: reload.MaxShrink, MaxSkipped: reload.MaxSkipped, Line: v.line}
		set(m, "id", &l.ID, identifier("list"))
		set(m, "pack", &l.Pack, word("a pack", packs()...))
		set(m, "file", &l.File, file)
		l.readNames(m)
		l.readFormat(m)
		set(m, "max_shrink", &l.MaxShrink, share)
		set(m, "max_skipped", &l.MaxSkipped, share)
		set(m, "allow_tld", &l.AllowTLD, boolean)
		m.done()
		m.require("id", "give the list an id")
		l.checkSource(m)
		return l, m.sound
	}
}

// checkSource holds the list to exactly one source.
func (l *List) checkSource(m *mapping) {
	var sources []string
	for _, key := range []string{"pack", "file", "names"} {
		if m.has(key) {
			sources = append(sources, key)
		}
	}
	switch {
	case m.sound && len(sources) == 0:
		m.problem("write one of pack, file and names", "the list has no source")
	case len(sources) > 1:
		m.at(sources[1]).problem("keep one of pack, file and names", "the list has a source already, %s", sources[0])
	}
}

// readNames reads the inline entries with their lines; what they mean is for the reader of the plain format to say.
func (l *List) readNames(m *mapping) {
	type entry struct {
		text string
		line int
	}
	var entries []entry
	set(m, "names", &entries, list(1, MaxSize, func(v value) (entry, bool) {
		s, ok := text(1024)(v)
		if ok && s == "" {
			v.problem("write a name, or remove the line", "the entry is empty")
		}
		return entry{s, v.line}, ok && s != ""
	}))
	for _, e := range entries {
		l.Names = append(l.Names, e.text)
		l.NameLines = append(l.NameLines, e.line)
	}
}

// readFormat reads the format, and the tiers that only packs have.
func (l *List) readFormat(m *mapping) {
	l.Format = FormatPlain
	if m.has("pack") {
		l.Format = FormatPack
	}
	natural := l.Format
	set(m, "format", &l.Format, word("a format", FormatPlain, FormatPack, FormatHosts, FormatAdblock, FormatRPZ))
	if l.Format != natural && !m.has("file") {
		m.at("format").problem("remove format; it is for files", "the format of this list is always %s", natural)
	}
	if l.Format == FormatPack {
		l.Tiers = []Tier{TierService, TierWeb, TierCDN}
	}
	set(m, "tiers", &l.Tiers, list(1, 4, distinct(word("a tier", TierService, TierWeb, TierCDN, TierShared))))
	if m.has("tiers") && l.Format != FormatPack {
		m.at("tiers").problem("remove tiers", "only a list in the pack format has tiers, and this one is %s", l.Format)
	}
}

// file is the path of a file.
func file(v value) (string, bool) {
	s, ok := text(4096)(v)
	switch {
	case !ok:
	case s == "":
		v.problem("write the path of a file", "the path is empty")
	case strings.Contains(s, "://"):
		v.problem("download it and write the path of the file", "%s is not a path", quote(s))
	default:
		return s, true
	}
	return "", false
}

// identifier is an id for an object of the kind, taken by no other of that kind.
func identifier(kind string) parse[string] {
	return func(v value) (string, bool) {
		s, ok := text(4096)(v)
		if !ok {
			return "", false
		}
		outside := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
		if s == "" || len(s) > 64 || strings.ContainsFunc(s, outside) {
			v.problem("use 1 to 64 of a-z, 0-9 and -", "%s is not an id", quote(s))
			return s, false
		}
		return s, v.claim(kind, s)
	}
}

// reference is the id of an object of the kind, which may stand further down in the file.
func reference(kind string, builtin ...string) parse[string] {
	return func(v value) (string, bool) {
		s, ok := v.scalar()
		if !ok {
			v.wrong(fmt.Sprintf("the id of a %s", kind), "write the id of a "+kind)
			return "", false
		}
		v.r.finish = append(v.r.finish, func(*Config) {
			known := slices.Clone(builtin)
			for id := range v.r.ids[kind] {
				known = append(known, id)
			}
			if !slices.Contains(known, s) {
				slices.Sort(known)
				v.problem(suggest(s, known), "unknown %s %s", kind, quote(s))
			}
		})
		return s, true
	}
}
