package pack_test

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rideau/blocklists/entry"
	"rideau/blocklists/format"
	"rideau/blocklists/pack"
	"rideau/resolver/wire"
)

var allTiers = []string{"service", "web", "cdn", "shared"}

// A rule is an entry of a pack as the tests match it: text, without final dot;
// of an address or a block, as the packs write it, with the match Exact.
type rule struct {
	name  string
	match entry.Match
}

func (r rule) covers(name string) bool {
	below := strings.HasSuffix(name, "."+r.name)
	switch r.match {
	case entry.Exact:
		return name == r.name
	case entry.Below:
		return below
	}
	return below || name == r.name
}

// covered is a matcher too simple to be wrong.
func covered(rules []rule, name string) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.covers(name) })
}

// rules reads packs, and accepts no unusable line.
func rules(t *testing.T, tiers []string, names ...string) []rule {
	t.Helper()
	var all []rule
	for _, name := range names {
		f, err := pack.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, err = format.Read(f, format.Options{File: pack.File(name), Format: format.Pack, Tiers: tiers}, func(e entry.Entry) error {
			if e.Name == nil {
				all = append(all, rule{block(e.Prefix), entry.Exact})
				return nil
			}
			all = append(all, rule{strings.TrimSuffix(wire.NameString(e.Name), "."), e.Match})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// block is an address or a block of addresses as the packs write it.
func block(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// rows reads the columns of a pack, with no help from package format.
func rows(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := pack.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all [][]string
	for s := bufio.NewScanner(f); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			all = append(all, strings.Split(s.Text(), "\t"))
		}
	}
	return all
}

func TestNames(t *testing.T) {
	var want []string
	paths, err := filepath.Glob("*.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		want = append(want, strings.TrimSuffix(p, ".tsv"))
	}
	if got := pack.Names(); !slices.Equal(got, want) {
		t.Errorf("Names() = %q, but the files are %q", got, want)
	}
	if got := pack.File("wechat"); got != "embedded:wechat.tsv" {
		t.Errorf("File(wechat) = %q", got)
	}
	pack.Names()[0] = "changed"
	if pack.Names()[0] != "doh-address" {
		t.Error("Names lends its own slice")
	}
}

func TestOpen(t *testing.T) {
	for _, name := range pack.Names() {
		f, err := pack.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || f.Close() != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want, err := os.ReadFile(name + ".tsv"); err != nil || string(got) != string(want) {
			t.Errorf("%s is not its file: %v", name, err)
		}
	}
	for _, name := range []string{"", "wechat.tsv", "../pack/wechat", "Wechat"} {
		want := fmt.Sprintf("pack %q is unknown; use doh-address, doh-bypass, kaspersky, tiktok, wechat", name)
		if _, err := pack.Open(name); err == nil || err.Error() != want {
			t.Errorf("Open(%q): error %v, want %s", name, err, want)
		}
	}
}

// Each row has its columns filled, is there once, and names its origin in a
// way that a reader of the file can follow.
func TestRows(t *testing.T) {
	private := regexp.MustCompile(`\bids? \d|index`)
	name := regexp.MustCompile(`^([a-z0-9_-]+\.)+[a-z0-9-]+$`)
	for _, p := range pack.Names() {
		seen := map[string]bool{}
		for _, col := range rows(t, p) {
			if len(col) != 5 || slices.Contains(col, "") {
				t.Errorf("%s: row %q has not five columns", p, col)
				continue
			}
			if col[1] == "address" {
				b, err := netip.ParsePrefix(col[0])
				if a, alone := netip.ParseAddr(col[0]); alone == nil {
					b, err = netip.PrefixFrom(a, a.BitLen()), nil
				}
				if err != nil || b != b.Masked() || block(b) != col[0] {
					t.Errorf("%s: %q is not an address or block in the form the packs use", p, col[0])
				}
			} else if !name.MatchString(col[0]) {
				t.Errorf("%s: name %q is not in the form the packs use", p, col[0])
			}
			if seen[col[0]] {
				t.Errorf("%s: %s is there twice", p, col[0])
			}
			seen[col[0]] = true
			if private.MatchString(col[4]) {
				t.Errorf("%s: %s: source %q cannot be followed", p, col[0], col[4])
			}
		}
	}
}

func TestHead(t *testing.T) {
	for _, p := range pack.Names() {
		text, err := fs.ReadFile(os.DirFS("."), p+".tsv")
		if err != nil {
			t.Fatal(err)
		}
		head, _, ok := strings.Cut(string(text), "\n#domain\tmatch\ttier\tpurpose\tsource\n")
		if !ok {
			t.Errorf("%s has no header line", p)
		}
		for _, want := range []string{"2026-11-22", "floor", "Tiers:", "To change the pack"} {
			if !strings.Contains(head, want) {
				t.Errorf("%s: the comment at its head lacks %q", p, want)
			}
		}
	}
}

// Every row is an entry if its tier counts, and only then.
func TestEntriesByTier(t *testing.T) {
	for _, p := range pack.Names() {
		for _, tier := range allTiers {
			var want []rule
			for _, col := range rows(t, p) {
				if col[2] == tier {
					m := map[string]entry.Match{"suffix": entry.Suffix, "exact": entry.Exact, "below": entry.Below, "address": entry.Exact}[col[1]]
					want = append(want, rule{col[0], m})
				}
			}
			if got := rules(t, []string{tier}, p); !slices.Equal(got, want) {
				t.Errorf("%s, tier %s: %d entries for %d rows, or others", p, tier, len(got), len(want))
			}
		}
	}
}

func TestDefaultTiers(t *testing.T) {
	for _, p := range pack.Names() {
		got := rules(t, nil, p)
		n := 0
		for _, col := range rows(t, p) {
			if col[2] == "shared" {
				if slices.ContainsFunc(got, func(r rule) bool { return r.name == col[0] }) {
					t.Errorf("%s: the shared name %s comes out by default", p, col[0])
				}
				continue
			}
			n++
			if !covered(got, col[0]) || col[1] == "suffix" && !covered(got, "not-listed."+col[0]) {
				t.Errorf("%s: %s is not covered", p, col[0])
			}
		}
		if n != len(got) {
			t.Errorf("%s: %d entries by default for %d rows", p, len(got), n)
		}
	}
}

func TestCollateral(t *testing.T) {
	bans := rules(t, nil, "wechat", "kaspersky")
	for _, name := range []string{
		"mail.qq.com", "qq.com", "www.qq.com", "exmail.qq.com", "video.qq.com", "tencent.com", "www.tencent.com",
		"gtimg.com", "foxmail.com", "tencentcloud.com", "meeting.qq.com", "qpic.cn",
		"www.canada.ca", "canada.ca", "tbs-sct.gc.ca", "2o7.net", "omtrdc.net", "demdex.net", "avangate.com",
		"notkaspersky.com", "kaspersky.com.example.org", "kaspersky.org.example", "wechat.com.example.org", "notwechat.com", "com", "ca",
	} {
		if covered(bans, name) {
			t.Errorf("%s is covered by the default tiers of wechat and kaspersky", name)
		}
	}
	for _, name := range []string{
		"web.wechat.com", "wechat.com", "szextshort.weixin.qq.com", "mp.weixin.qq.com", "res.wx.qq.com", "mmbiz.qpic.cn",
		"kaspersky.com", "dnl-01.geo.kaspersky.com", "downloads.upd.kaspersky.com", "ksn.kaspersky-labs.com", "www.kaspersky.ca",
	} {
		if !covered(bans, name) {
			t.Errorf("%s is not covered", name)
		}
	}
}

// The pack of resolvers blocks nothing but resolvers.
func TestBypassCollateral(t *testing.T) {
	bans := rules(t, nil, "doh-bypass")
	for _, name := range []string{
		"www.google.com", "google.com", "google", "cloudflare.com", "www.cloudflare.com", "icloud.com", "www.icloud.com", "apple.com",
		"mozilla.org", "quad9.net", "www.quad9.net", "nextdns.io", "my.nextdns.io", "opendns.com", "login.opendns.com", "adguard.com",
		"cleanbrowsing.org", "controld.com", "mullvad.net", "cira.ca", "www.cira.ca", "canadianshield.cira.ca", "private.canadianshield.cira.ca",
		"dns.api.rackspacecloud.com", "dns.api.globus.org", "dns.api.preview.globus.org", "dns.us-ashburn-1.oraclecloud.com",
		"dns.beta.gandi.net", "opencdn.jomodns.com", "ns1.alidns.com", "vip1.alidns.com", "commons.host", "rumpelsepp.org",
		"yandex.ru", "comcast.net", "xfinity.com", "bt.com", "umbrella.com", "he.net", "wikimedia.org", "b-cdn.net", "duckdns.org",
		"root-servers.net", "a.root-servers.net", "canada.ca", "ca", "com", "arpa", "in-addr.arpa", "ip6.arpa",
	} {
		if covered(bans, name) {
			t.Errorf("%s is covered by the default tiers of doh-bypass", name)
		}
	}
	for _, name := range []string{
		"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com", "dns.google", "cloudflare-dns.com", "mozilla.cloudflare-dns.com",
		"chrome.cloudflare-dns.com", "dns.quad9.net", "doh.opendns.com", "dns.nextdns.io", "abc123.dns.nextdns.io", "dns.adguard-dns.com",
		"dns.alidns.com", "one.one.one.one", "doh.cleanbrowsing.org", "dns.mullvad.net", "doh.xfinity.com",
	} {
		if !covered(bans, name) {
			t.Errorf("%s is not covered", name)
		}
	}
}

// A suffix row covers all names below: on a name that anybody can register, it
// must be one that is only a resolver's.
func TestBypassSuffixes(t *testing.T) {
	whole := []string{"use-application-dns.net", "resolver.arpa", "cloudflare-dns.com", "cloudflare-gateway.com", "dns.google", "adguard-dns.com",
		"dnscry.pt", "doh.sb", "dns.sb", "one.one.one.one", "doh.pub", "dot.pub", "dns.pub", "joindns4.eu", "ahadns.net"}
	for _, col := range rows(t, "doh-bypass") {
		if col[1] == "suffix" && col[2] != "shared" && strings.Count(col[0], ".") < 2 && !slices.Contains(whole, col[0]) {
			t.Errorf("%s takes a whole registered name: look at what else it has, and list it here", col[0])
		}
	}
}

// The README's table of counts matches the packs.
func TestReadmeCounts(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pack.Names() {
		count := map[string]int{}
		for _, col := range rows(t, p) {
			count[col[2]]++
		}
		byDefault := count["service"] + count["web"] + count["cdn"]
		want := fmt.Sprintf("| `%s` | %d | %d | %d | **%d** | %d |", p, count["service"], count["web"], count["cdn"], byDefault, count["shared"])
		if !strings.Contains(string(readme), want) {
			t.Errorf("README.md lacks the row\n%s", want)
		}
	}
}

// The table of EGRESS.md is the pack doh-address.
func TestResolvers(t *testing.T) {
	egress, err := os.ReadFile(filepath.Join("..", "EGRESS.md"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := pack.Resolvers()
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(egress), "\n## Addresses of public resolvers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	n := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(line, "---") || strings.Contains(line, "Operator") {
			continue
		}
		want := pack.Resolver{Operator: strings.TrimSpace(cells[1])}
		for a := range strings.SplitSeq(cells[2]+","+cells[3], ",") {
			if a = strings.TrimSpace(a); a != "" {
				want.Addrs = append(want.Addrs, netip.MustParseAddr(a))
			}
		}
		if n >= len(got) || got[n].Operator != want.Operator || !slices.Equal(got[n].Addrs, want.Addrs) {
			t.Fatalf("row %d of EGRESS.md is %v, but the pack has %v", n+1, want, got[min(n, len(got)-1)])
		}
		n++
	}
	if n != len(got) || n < 10 {
		t.Errorf("EGRESS.md has %d resolvers, the pack %d", n, len(got))
	}
}

func TestCanaries(t *testing.T) {
	got, err := pack.Canaries()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range got {
		names = append(names, c.Name)
		if c.Purpose == "" || c.Source == "" || strings.Contains(c.Purpose, "canary") {
			t.Errorf("%+v", c)
		}
		// The names below count, too: the row is a suffix, of a default tier.
		if !covered(rules(t, nil, "doh-bypass"), "x."+c.Name) {
			t.Errorf("%s is no suffix row that blocks by default", c.Name)
		}
	}
	if want := []string{"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"}; !slices.Equal(names, want) {
		t.Errorf("canaries %q, want %q", names, want)
	}
}
