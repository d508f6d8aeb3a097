package egress_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rideau/blocklists/egress"
)

// Neither pfctl nor IOS was available when these tests were written. Instead
// there are readers of the part of the two languages that is used, after
// pf.conf(5) of OpenBSD and FreeBSD and Cisco's command references. They
// refuse what they do not know, and decide about packets.

type rule struct {
	allow    bool
	protos   []string
	src, dst []netip.Prefix // nil is any
	ports    [][2]int       // of the destination; nil is any
	sport    int            // 0 is any
	replies  bool           // only what belongs to a connection
}

func (r rule) fits(p packet) bool {
	in := func(s []netip.Prefix, a netip.Addr) bool {
		return s == nil || slices.ContainsFunc(s, func(x netip.Prefix) bool { return x.Contains(a) })
	}
	if r.replies || r.sport != 0 || !slices.Contains(r.protos, p.proto) || !in(r.src, p.src) || !in(r.dst, p.dst) {
		return false // packets here begin a connection, from a high port
	}
	return r.ports == nil || slices.ContainsFunc(r.ports, func(x [2]int) bool { return x[0] <= p.port && p.port <= x[1] })
}

func port(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		t.Fatalf("port %q: %v", s, err)
	}
	return int(n)
}

func block(t *testing.T, s string) netip.Prefix {
	t.Helper()
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() {
		t.Fatalf("block %q: %v", s, err)
	}
	return p
}

// pf is a rule set of pf.
type pf []rule

func (rules pf) pass(p packet) bool {
	for _, r := range rules {
		if r.fits(p) {
			return r.allow // quick
		}
	}
	return true // the anchor decides nothing
}

var (
	pfTable = regexp.MustCompile(`^table <([a-z_]+)> const \{(( [0-9a-f.:/]+)*) \}$`)
	pfAll   = regexp.MustCompile(`^block return in log quick to (<[a-z_]+>)$`)
	pfRule  = regexp.MustCompile(`^(pass in|block return in log) quick( inet6?)? proto (tcp|udp|\{ tcp, udp \})` +
		`( from (<[a-z_]+>))? to (any|<[a-z_]+>|\{ [0-9a-f.:]+(?:, [0-9a-f.:]+)* \}) port ([0-9:]+|\{ [0-9:]+(?:, [0-9:]+)* \})$`)
)

func readPF(t *testing.T, text string) pf {
	t.Helper()
	var rules pf
	tables := map[string][]netip.Prefix{}
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n\t", "")) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if m := pfTable.FindStringSubmatch(line); m != nil {
			if len(m[1]) > 31 || tables[m[1]] != nil { // PF_TABLE_NAME_SIZE
				t.Fatalf("the table's name is too long, or there twice: %s", line)
			}
			tables[m[1]] = []netip.Prefix{}
			for _, e := range strings.Fields(m[2]) {
				tables[m[1]] = append(tables[m[1]], block(t, e))
			}
			continue
		}
		m := pfRule.FindStringSubmatch(line)
		if all := pfAll.FindStringSubmatch(line); all != nil && tables[strings.Trim(all[1], "<>")] != nil {
			rules = append(rules, rule{protos: []string{"tcp", "udp"}, dst: tables[strings.Trim(all[1], "<>")]})
			continue
		}
		if m == nil {
			t.Fatalf("not of pf: %q", line)
		}
		list := func(s string) []string { return strings.Split(strings.Trim(s, "{ }"), ", ") }
		hosts := func(s string) []netip.Prefix {
			if s == "any" || s == "" {
				return nil
			}
			if name, ok := strings.CutPrefix(s, "<"); ok {
				elements, defined := tables[strings.TrimSuffix(name, ">")]
				if !defined {
					t.Fatalf("no such table: %s", line)
				}
				return elements
			}
			var out []netip.Prefix
			for _, h := range list(s) {
				p := block(t, h)
				if p.Addr().Is4() != (m[2] == " inet") {
					t.Fatalf("addresses of another family: %s", line)
				}
				out = append(out, p)
			}
			return out
		}
		r := rule{allow: strings.HasPrefix(m[1], "pass"), protos: list(m[3]), src: hosts(m[5]), dst: hosts(m[6])}
		for _, p := range list(m[7]) {
			from, to, isRange := strings.Cut(p, ":")
			if !isRange {
				to = from
			}
			r.ports = append(r.ports, [2]int{port(t, from), port(t, to)})
		}
		rules = append(rules, r)
	}
	return rules
}

func TestPF(t *testing.T) { check(t, readPF(t, write(t, egress.PF, network())).pass) }

// cisco is the two access lists of a router.
type cisco struct{ v4, v6 []rule }

func (c cisco) pass(p packet) bool {
	rules := c.v4
	if p.src.Is6() {
		rules = c.v6
	}
	for _, r := range rules {
		if r.fits(p) {
			return r.allow
		}
	}
	return false // as every access list ends
}

var (
	ciscoHost4 = `(any|host [0-9.]+|[0-9.]+ [0-9.]+)`
	ciscoHost6 = `(any|host [0-9a-f:]+|[0-9a-f:]+/[0-9]+)`
	ciscoEnd   = `( eq [0-9]+| range [0-9]+ [0-9]+)?( established)?( log)?$`
	ciscoRule  = map[bool]*regexp.Regexp{
		false: regexp.MustCompile(`^ (permit|deny) (tcp|udp|ip) ` + ciscoHost4 + `( eq [0-9]+)? ` + ciscoHost4 + ciscoEnd),
		true:  regexp.MustCompile(`^ (permit|deny) (tcp|udp|ipv6) ` + ciscoHost6 + `( eq [0-9]+)? ` + ciscoHost6 + ciscoEnd),
	}
)

func readCisco(t *testing.T, text string) cisco {
	t.Helper()
	var c cisco
	var list *[]rule
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "!"), strings.HasPrefix(line, "no "):
			list = nil
			continue
		case line == "ip access-list extended RIDEAU-EGRESS":
			list = &c.v4
			continue
		case line == "ipv6 access-list RIDEAU-EGRESS6":
			list = &c.v6
			continue
		case list == nil:
			t.Fatalf("outside a list: %q", line)
		case strings.HasPrefix(line, " remark "):
			if len(line) > len(" remark ")+100 {
				t.Errorf("longer than a remark can be: %q", line)
			}
			continue
		}
		m := ciscoRule[list == &c.v6].FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not of IOS: %q", line)
		}
		r := rule{allow: m[1] == "permit", protos: []string{m[2]}, src: ciscoHosts(t, m[3]), dst: ciscoHosts(t, m[5]), replies: m[7] != ""}
		if strings.HasPrefix(m[2], "ip") {
			r.protos = []string{"tcp", "udp"}
		}
		if f := strings.Fields(m[4]); len(f) > 0 {
			r.sport = port(t, f[1])
		}
		switch f := strings.Fields(m[6]); len(f) {
		case 2:
			r.ports = [][2]int{{port(t, f[1]), port(t, f[1])}}
		case 3:
			r.ports = [][2]int{{port(t, f[1]), port(t, f[2])}}
		}
		*list = append(*list, r)
	}
	return c
}

func ciscoHosts(t *testing.T, s string) []netip.Prefix {
	t.Helper()
	if s == "any" {
		return nil
	}
	if h, ok := strings.CutPrefix(s, "host "); ok {
		return []netip.Prefix{block(t, h)}
	}
	addr, wild, v4 := strings.Cut(s, " ")
	if !v4 {
		return []netip.Prefix{block(t, s)}
	}
	w := netip.MustParseAddr(wild).As4()
	ones := strings.TrimLeft(fmt.Sprintf("%08b%08b%08b%08b", w[0], w[1], w[2], w[3]), "0")
	if strings.Contains(ones, "0") {
		t.Fatalf("wildcard %q is no range's", s)
	}
	return []netip.Prefix{block(t, fmt.Sprintf("%s/%d", addr, 32-len(ones)))}
}

func TestCisco(t *testing.T) { check(t, readCisco(t, write(t, egress.CiscoACL, network())).pass) }

// The readers refuse wrong rules: otherwise they would prove nothing.
func TestReadersRefuse(t *testing.T) {
	for _, line := range []string{"pass quick port 53", "block return in log quick proto udp to any port { 53 853 }",
		"table <x> const { 10.0.0.0/8, 10.1.0.0/16 }", "pass in quick proto icmp to any port 53"} {
		if pfRule.MatchString(line) || pfTable.MatchString(line) {
			t.Errorf("taken for pf: %s", line)
		}
	}
	for _, line := range []string{" permit tcp any eq 53", " deny udp host any eq 53 log", " deny tcp 10.0.0.0/8 any eq 53", "permit ip any any"} {
		if ciscoRule[false].MatchString(line) {
			t.Errorf("taken for IOS: %s", line)
		}
	}
}
