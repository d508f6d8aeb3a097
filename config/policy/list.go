package policy

import (
	"slices"
	"time"

	"rideau/config/node"
	"rideau/config/value"
)

// MaxLists is the number of lists that a configuration may have.
const MaxLists = 256

// Format is the format of a list.
type Format string

// Formats of lists.
const (
	FormatPlain   Format = "plain"   // one name on each line
	FormatPack    Format = "pack"    // Rideau's ban packs: tab-separated, with tier, purpose and source
	FormatHosts   Format = "hosts"   // hosts(5)
	FormatAdblock Format = "adblock" // the rules of adblock syntax that are about whole names
	FormatRPZ     Format = "rpz"     // response policy zone
	FormatDnsmasq Format = "dnsmasq" // options of dnsmasq that answer for names
	FormatAuto    Format = "auto"    // detected from the beginning of the list
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

// List is a source of names and addresses. Exactly one of Pack, File, Folder, URL and Names is set.
type List struct {
	// ID is the name of the list in bans and exceptions.
	ID string `key:"id"`
	// Pack is the name of a built-in ban pack.
	Pack string `key:"pack"`
	// File is the path of a list. Load makes it relative to the directory of the configuration file.
	File string `key:"file"`
	// Folder is the path of a folder of lists, relative as File is, and Match the pattern of the names of its files.
	Folder string `key:"folder"`
	Match  string `key:"match"`
	// URL is where the list is fetched: https, or http from this machine. InsecureHTTP allows http from other machines.
	URL          string `key:"url"`
	InsecureHTTP bool   `key:"insecure_http"`
	// Refresh is the time between two fetches, and MaxBytes the largest size of the content.
	Refresh  time.Duration `key:"refresh"`
	MaxBytes int64         `key:"max_bytes"`
	// SHA256 is the digest, in hex in lower case, of the only right content; empty for any content.
	SHA256 string `key:"sha256"`
	// PublicKey is the minisign key that signed the content; empty for none. The signature is at SignatureURL or in SignatureFile, which is
	// relative as File is.
	PublicKey     string `key:"public_key"`
	SignatureURL  string `key:"signature_url"`
	SignatureFile string `key:"signature_file"`
	// RequireSerial refuses content without a serial.
	RequireSerial bool `key:"require_serial"`
	// Names are entries in the plain format.
	Names []string `key:"names"`
	// NameLines has the line of each of Names.
	NameLines []int `key:"-"`
	// Format is the format of the content.
	Format Format `key:"format"`
	// Tiers are the tiers whose names are used; nil unless Format is FormatPack, or FormatAuto and the file has the key.
	Tiers []Tier `key:"tiers"`
	// MaxShrink is the share of its entries, 0 to 1, that the list may lose in a reload. The default is that of Reload.
	MaxShrink float64 `key:"max_shrink"`
	// MaxSkipped is the share of its lines, 0 to 1, that may be unusable. The default is that of Reload.
	MaxSkipped float64 `key:"max_skipped"`
	// MaxGrowth is how many times as many entries the list may have after a reload, and MaxEntries how many it may have.
	MaxGrowth  float64 `key:"max_growth"`
	MaxEntries int     `key:"max_entries"`
	// MayBlockProtected lets a file or a folder block protected names.
	MayBlockProtected bool `key:"may_block_protected"`
	// AllowTLD lets an entry be a whole top-level domain.
	AllowTLD bool `key:"allow_tld"`
	// EmptyOK lets the list have no entry that blocks.
	EmptyOK bool `key:"empty_ok"`
	// WildcardIncludesName has an entry *.NAME of a plain list cover NAME itself, too. WildcardMeant is set if the file has the key.
	WildcardIncludesName bool `key:"wildcard_includes_name"`
	WildcardMeant        bool `key:"-"`
	// Line is the line where the list begins.
	Line int `key:"-"`
}

// packs returns the built-in ban packs.
func packs() []string { return []string{"wechat", "kaspersky", "tiktok", "doh-bypass", "doh-address"} }

// readList reads a list.
func (s *Sections) readList(v node.Value) (List, bool) {
	m := v.Mapping()
	l := List{MaxShrink: s.MaxShrink, MaxSkipped: s.MaxSkipped, Line: v.Line(),
		Match: "*", Refresh: defaultRefresh, MaxBytes: defaultBytes, MaxGrowth: defaultGrowth, MaxEntries: defaultEntries}
	node.Set(m, "id", &l.ID, value.Identifier("list"))
	node.Set(m, "pack", &l.Pack, node.Word("a pack", packs()...))
	node.Set(m, "file", &l.File, value.File)
	l.readSource(m)
	l.Names, l.NameLines = readEntries(m)
	l.readFormat(m)
	node.Set(m, "max_shrink", &l.MaxShrink, node.Share)
	node.Set(m, "max_skipped", &l.MaxSkipped, node.Share)
	node.Set(m, "allow_tld", &l.AllowTLD, node.Boolean)
	node.Set(m, "empty_ok", &l.EmptyOK, node.Boolean)
	node.Set(m, "wildcard_includes_name", &l.WildcardIncludesName, node.Boolean)
	l.WildcardMeant = m.Has("wildcard_includes_name")
	m.Done()
	m.Require("id", "give the list an id")
	l.checkSource(m)
	v.Finally(func() { s.used(v, l.ID) })
	return l, m.Sound()
}

// used warns of a list that no ban and no exception uses.
func (s *Sections) used(v node.Value, id string) {
	for _, b := range *s.Bans {
		if slices.Contains(b.Lists, id) || slices.Contains(b.AllBut, id) {
			return
		}
	}
	for _, e := range *s.Exceptions {
		if slices.Contains(e.Lists, id) {
			return
		}
	}
	v.Warn("name it in a ban's lists, or remove it", "no ban and no exception uses the list %q", id)
}

// checkSource refuses a list that has not exactly one source.
func (l *List) checkSource(m *node.Mapping) {
	var sources []string
	for _, key := range sourceKeys() {
		if m.Has(key) {
			sources = append(sources, key)
		}
	}
	switch {
	case m.Sound() && len(sources) == 0:
		m.Problem("write one of pack, file, folder, url and names", "the list has no source")
	case len(sources) > 1:
		m.At(sources[1]).Problem("keep one of pack, file, folder, url and names", "the list has a source already, %s", sources[0])
	}
}

// readEntries reads the key names: entries, and their lines. The reader of the plain format checks them later.
func readEntries(m *node.Mapping) (names []string, lines []int) {
	type entry struct {
		text string
		line int
	}
	var entries []entry
	node.Set(m, "names", &entries, node.List(1, node.MaxSize, func(v node.Value) (entry, bool) {
		s, ok := node.Text(1024)(v)
		if ok && s == "" {
			v.Problem("write a name, or remove the line", "the entry is empty")
		}
		return entry{s, v.Line()}, ok && s != ""
	}))
	for _, e := range entries {
		names = append(names, e.text)
		lines = append(lines, e.line)
	}
	return names, lines
}

// readFormat reads the format, and the tiers, which only the pack format has.
func (l *List) readFormat(m *node.Mapping) {
	fromOutside := m.Has("file") || m.Has("folder") || m.Has("url")
	l.Format = FormatPlain
	switch {
	case m.Has("pack"):
		l.Format = FormatPack
	case fromOutside:
		l.Format = FormatAuto
	}
	natural := l.Format
	node.Set(m, "format", &l.Format, node.Word("a format", FormatAuto, FormatPlain, FormatPack, FormatHosts, FormatAdblock, FormatDnsmasq, FormatRPZ))
	if l.Format != natural && !fromOutside {
		m.At("format").Problem("remove format; it is for files", "the format of this list is always %s", natural)
	}
	if l.Format == FormatPack {
		l.Tiers = []Tier{TierService, TierWeb, TierCDN}
	}
	node.Set(m, "tiers", &l.Tiers, node.List(1, 4, node.Distinct(node.Word("a tier", TierService, TierWeb, TierCDN, TierShared))))
	if m.Has("tiers") && l.Format != FormatPack && l.Format != FormatAuto {
		m.At("tiers").Problem("remove tiers", "only a list in the pack format has tiers, and this one is %s", l.Format)
	}
}
