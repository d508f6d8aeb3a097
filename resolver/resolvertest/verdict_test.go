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
	{"own96", "AAAA", "own96.example.org. 60 IN AAAA 2001:db8:64::c000:242"},
	{"own96-hint", "HTTPS", "own96-hint.example.org. 60 IN HTTPS 1 . ipv6hint=2001:db8::1,2001:db8:64::c000:242"},
	{"own64", "AAAA", "own64.example.org. 60 IN AAAA 2001:db8:1:2:c0:2:4200:77"},
	{"own56", "AAAA", "own56.example.org. 60 IN AAAA 2001:db8:2:33c0:0:242::"},
	{"own48", "AAAA", "own48.example.org. 60 IN AAAA 2001:db8:3:c000:2:4200::"},
	{"own40", "AAAA", "own40.example.org. 60 IN AAAA 2001:db8:40c0:2:42::"},
	{"own32", "AAAA", "own32.example.org. 60 IN AAAA 2001:db9:c000:242::"},
	{"local96", "AAAA", "local96.example.org. 60 IN AAAA 64:ff9b:1:fffe::c000:242"},
	{"local64", "AAAA", "local64.example.org. 60 IN AAAA 64:ff9b:1:7:c0:2:4200:0"},
	{"local56", "AAAA", "local56.example.org. 60 IN AAAA 64:ff9b:1:7c0:0:242::"},
	{"local48", "AAAA", "local48.example.org. 60 IN AAAA 64:ff9b:1:c000:2:4200::"},
	{"6to4", "AAAA", "6to4.example.org. 60 IN AAAA 2002:c000:242:7::1"},
	{"teredo-server", "AAAA", "teredo-server.example.org. 60 IN AAAA 2001:0:c000:242:8000:f227:3444:5566"},
	{"teredo-client", "AAAA", "teredo-client.example.org. 60 IN AAAA 2001:0:4136:e378:8000:63bf:3fff:fdbd"},
	{"isatap", "AAAA", "isatap.example.org. 60 IN AAAA 2001:db8:77::5efe:c000:242"},
	{"isatap-global", "AAAA", "isatap-global.example.org. 60 IN AAAA 2001:db8:77::200:5efe:c000:242"},
	{"compatible", "AAAA", "compatible.example.org. 60 IN AAAA ::192.0.2.66"},
	{"mapped", "AAAA", "mapped.example.org. 60 IN AAAA ::ffff:192.0.2.66"},
	{"translated", "AAAA", "translated.example.org. 60 IN AAAA ::ffff:0:c000:242"},
	{"uri", "URI", `uri.example.org. 60 IN URI 1 1 "https://user@WWW.banned.example:8443/x?y#z"`},
	{"uri-plain", "URI", `uri-plain.example.org. 60 IN URI 1 1 "banned.example:443/x"`},
	{"uri-escaped", "URI", `uri-escaped.example.org. 60 IN URI 1 1 "https:/%62anned.example./"`},
	{"uri-sip", "URI", `uri-sip.example.org. 60 IN URI 1 1 "sip:info@sip.banned.example;transport=tcp"`},
	{"uri-mail", "URI", `uri-mail.example.org. 60 IN URI 1 1 "mailto:a@fine.example,b@banned.example?subject=x"`},
	{"uri-nested", "URI", `uri-nested.example.org. 60 IN URI 1 1 "view-source:https://banned.example/"`},
	{"uri4", "URI", `uri4.example.org. 60 IN URI 1 1 "http://192.0.2.66/"`},
	{"uri4-short", "URI", `uri4-short.example.org. 60 IN URI 1 1 "http://0xc0.578/"`},
	{"uri6", "URI", `uri6.example.org. 60 IN URI 1 1 "http://[2001:db8:66::1]:80/"`},
	{"uri64", "URI", `uri64.example.org. 60 IN URI 1 1 "http://[64:ff9b::c000:242]/"`},
	{"naptr-uri", "NAPTR", `naptr-uri.example.org. 60 IN NAPTR 1 1 "u" "E2U+sip" "!^.*$!sip:info@banned.example!" .`},
	{"naptr-back", "NAPTR", `naptr-back.example.org. 60 IN NAPTR 1 1 "u" "E2U+sip" "!^(.*)$!https://\\1.banned.example/x!i" .`},
	{"naptr4", "NAPTR", `naptr4.example.org. 60 IN NAPTR 1 1 "u" "E2U+web" "#^.*$#http://192.0.2.66/#" .`},
	{"naptr-later", "NAPTR", `naptr-later.example.org. 60 IN NAPTR 1 1 "u" "E2U+sip" "!a!sip:a@fine.example!" .|naptr-later.example.org. 60 IN NAPTR 2 1 "s" "SIP+D2U" "" banned.example.`},
	{"soa", "SOA", "soa.example.org. 60 IN SOA ns.banned.example. host.example.org. 1 2 3 4 60"},
	{"afsdb", "AFSDB", "afsdb.example.org. 60 IN AFSDB 1 banned.example."},
	{"kx", "KX", "kx.example.org. 60 IN KX 1 banned.example."},
	{"rt", "RT", "rt.example.org. 60 IN RT 1 banned.example."},
	{"rp", "RP", "rp.example.org. 60 IN RP a.banned.example. ."},
	{"rp-text", "RP", "rp-text.example.org. 60 IN RP a.example.org. text.banned.example."},
	{"px", "PX", "px.example.org. 60 IN PX 1 fine.example.org. banned.example."},
	{"lp", "LP", "lp.example.org. 60 IN LP 1 banned.example."},
	{"l32", "L32", "l32.example.org. 60 IN L32 1 192.0.2.66"},
	{"l64", "L64", "l64.example.org. 60 IN L64 1 2001:0DB8:0066:0000"},
	{"mb", "MB", "mb.example.org. 60 IN MB banned.example."},
	{"mg", "MG", "mg.example.org. 60 IN MG banned.example."},
	{"mr", "MR", "mr.example.org. 60 IN MR banned.example."},
	{"md", "MD", "md.example.org. 60 IN MD banned.example."},
	{"mf", "MF", "mf.example.org. 60 IN MF banned.example."},
	{"minfo", "MINFO", "minfo.example.org. 60 IN MINFO fine.example. banned.example."},
	{"talink", "TALINK", "talink.example.org. 60 IN TALINK . banned.example."},
	{"nsapptr", "NSAP-PTR", "nsapptr.example.org. 60 IN NSAP-PTR banned.example."},
	{"hip", "HIP", "hip.example.org. 60 IN HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p a.example.org. banned.example."},
	{"ipsec4", "IPSECKEY", "ipsec4.example.org. 60 IN IPSECKEY 10 1 2 192.0.2.66 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="},
	{"ipsec6", "IPSECKEY", "ipsec6.example.org. 60 IN IPSECKEY 10 2 2 2001:db8:66::1 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="},
	{"ipsec64", "IPSECKEY", "ipsec64.example.org. 60 IN IPSECKEY 10 2 2 64:ff9b::c000:242 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="},
	{"ipsec-name", "IPSECKEY", "ipsec-name.example.org. 60 IN IPSECKEY 10 3 2 gw.banned.example. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="},
	{"amt4", "AMTRELAY", "amt4.example.org. 60 IN AMTRELAY 10 0 1 192.0.2.66"},
	{"amt6", "AMTRELAY", "amt6.example.org. 60 IN AMTRELAY 10 0 2 2001:db8:66::1"},
	{"amt-name", "AMTRELAY", `amt-name.example.org. 60 IN TYPE260 \# 22 0a03 03616d74 0662616e6e6564 076578616d706c6500`},
	{"wks", "TYPE11", `wks.example.org. 60 IN TYPE11 \# 6 c0000242 06 40`},
	{"a6", "TYPE38", `a6.example.org. 60 IN TYPE38 \# 17 00 20010db8006600000000000000000001`},
	{"a6-name", "TYPE38", `a6-name.example.org. 60 IN TYPE38 \# 25 40 0000000000000001 0662616e6e6564076578616d706c6500`},
	{"dsync", "TYPE66", `dsync.example.org. 60 IN TYPE66 \# 21 003b 01 14ea 0662616e6e6564076578616d706c6500`},
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
			"32.66.2.0.192.rpz-ip CNAME .", "48.zz.66.db8.2001.rpz-ip CNAME .")},
	}
	flags := []string{"", " do", " cd", " do cd"}
	for kind, list := range lists {
		for _, l := range leading {
			t.Run(kind+"/"+l.name, func(t *testing.T) {
				t.Parallel()
				ask := "query " + l.name + ".example.org " + l.qtype
				banned := "\nexpect NXDOMAIN\noutcome blocked ban=ca-test action=nxdomain\n"
				var b strings.Builder
				fmt.Fprintf(&b, "A table.\n\n-- policy --\n"+
					"nat64 2001:db8:64::/96 2001:db8:1:2::/64 2001:db8:2:3300::/56 2001:db8:3::/48 2001:db8:4000::/40 2001:db9::/32\ncache max-stale=24h failure-ttl=5s\npatience attempt=100ms total=200ms\n"+
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
