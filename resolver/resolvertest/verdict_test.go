package resolvertest

import (
	"fmt"
	"strings"
	"testing"
)

// leading are answers that lead to banned.example, or to a banned address: the
// question, and the records.
var leading = []struct{ name, qtype, records string }{
	{"cname", "A", "cname.example.org. 60 IN CNAME a.example.net.|a.example.net. 60 IN CNAME www.banned.example.|www.banned.example. 60 IN A 203.0.113.1"},
	{"cname6", "AAAA", "cname6.example.org. 60 IN CNAME banned.example.|banned.example. 60 IN AAAA 2001:db8::1"},
	{"cname-itself", "CNAME", "cname-itself.example.org. 60 IN CNAME banned.example."},
	{"dname", "DNAME", "dname.example.org. 60 IN DNAME banned.example."},
	{"x.under", "A", "under.example.org. 60 IN DNAME banned.example.|x.under.example.org. 60 IN CNAME x.banned.example.|x.banned.example. 60 IN A 203.0.113.1"},
	{"alias", "HTTPS", "alias.example.org. 60 IN HTTPS 0 banned.example."},
	{"service", "HTTPS", "service.example.org. 60 IN HTTPS 1 cdn.banned.example. alpn=h2"},
	{"hint4", "HTTPS", "hint4.example.org. 60 IN HTTPS 1 . ipv4hint=203.0.113.1,192.0.2.66"},
	{"hint6", "HTTPS", "hint6.example.org. 60 IN HTTPS 1 . ipv6hint=2001:db8:66::1"},
	{"svcb", "SVCB", "svcb.example.org. 60 IN SVCB 1 banned.example. port=853"},
	{"mx", "MX", "mx.example.org. 60 IN MX 10 fine.example.org.|mx.example.org. 60 IN MX 20 banned.example."},
	{"srv", "SRV", "srv.example.org. 60 IN SRV 0 0 443 banned.example."},
	{"ns", "NS", "ns.example.org. 60 IN NS ns.banned.example."},
	{"naptr", "NAPTR", `naptr.example.org. 60 IN NAPTR 1 1 "s" "SIP+D2U" "" banned.example.`},
	{"ptr", "PTR", "ptr.example.org. 60 IN PTR banned.example."},
	{"a", "A", "a.example.org. 60 IN A 203.0.113.1|a.example.org. 60 IN A 192.0.2.66"},
	{"aaaa", "AAAA", "aaaa.example.org. 60 IN AAAA 2001:db8:66::1"},
	{"dns64", "AAAA", "dns64.example.org. 60 IN AAAA 64:ff9b::c000:242"},
}

// TestOneVerdict: the verdict does not depend on the record that leads to the
// banned name or address, on the client's flags, on the format of the list, or on
// whether the answer is new, from the cache, or stale. A new ban applies at once to
// answers in the cache.
func TestOneVerdict(t *testing.T) {
	lists := map[string]struct{ option, before, after string }{
		"plain":   {"", "other.example", "banned.example\n192.0.2.66\n2001:db8:66::/48"},
		"adblock": {" format=adblock", "||other.example^", "||banned.example^\n||192.0.2.66^\n||2001:db8:66::/48^"},
		"rpz": {" format=rpz", zoneOf("other CNAME ."), zoneOf("banned.example CNAME .", "*.banned.example CNAME .",
			"32.66.2.0.192.rpz-ip CNAME .", "48.zz.66.db8.2001.rpz-ip CNAME .", "128.66.2.c000.zz.ff9b.64.rpz-ip CNAME .")},
	}
	flags := []string{"", " do", " cd", " do cd"}
	for kind, list := range lists {
		for _, l := range leading {
			if kind == "rpz" && l.name == "dns64" {
				continue // a zone has a trigger for that address or for none
			}
			t.Run(kind+"/"+l.name, func(t *testing.T) {
				t.Parallel()
				ask := "query " + l.name + ".example.org " + l.qtype
				banned := "\nexpect NXDOMAIN\noutcome blocked ban=ca-test action=nxdomain\n"
				var b strings.Builder
				fmt.Fprintf(&b, "A table.\n\n-- policy --\ncache max-stale=24h failure-ttl=5s\npatience attempt=100ms total=200ms\n"+
					"list names lists/names max-shrink=1 allow-tld%s\nban ca-test lists=names action=%s\n-- lists/names --\n%s\n",
					list.option, map[bool]string{true: "given", false: "nxdomain"}[kind == "rpz"], list.before)
				fmt.Fprintf(&b, "-- upstream --\n%s.example.org %s times=%d\n", l.name, l.qtype, 2*len(flags))
				for _, r := range strings.Split(l.records, "|") {
					fmt.Fprintf(&b, "    answer %s\n", r)
				}
				fmt.Fprint(&b, "* * SERVFAIL\n-- script --\n")
				for _, f := range flags {
					fmt.Fprint(&b, ask+f+"\nexpect NOERROR\noutcome forwarded ban=none\n")
				}
				// A new policy while the answers are in the cache.
				fmt.Fprintf(&b, "write lists/names\n    %s\nreload\n", strings.ReplaceAll(list.after, "\n", "\n    "))
				for _, f := range append(flags, " -rd", " -edns", " ad", " via=tcp") {
					fmt.Fprint(&b, ask+f+banned)
				}
				// New answers, and the same from the cache.
				fmt.Fprint(&b, "wait 2m\n")
				for range 2 {
					for _, f := range flags {
						fmt.Fprint(&b, ask+f+banned)
					}
				}
				fmt.Fprint(&b, ask+" -rd"+banned)
				// Stale answers, with an upstream that fails.
				fmt.Fprint(&b, "wait 2m\n")
				for range 2 {
					for _, f := range flags {
						fmt.Fprint(&b, ask+f+banned)
					}
				}
				for _, e := range runText(t, b.String()) {
					t.Error(e)
				}
			})
		}
	}
}

// zoneOf is a policy zone of some records.
func zoneOf(records ...string) string {
	return "$TTL 300\n@ SOA localhost. root.localhost. 1 2 3 4 5\n" + strings.Join(records, "\n")
}
