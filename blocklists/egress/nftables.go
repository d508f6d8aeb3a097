package egress

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// writeNFTables writes a table of its own. Its chain runs before the machine's
// filter, and accepts only what rules 1 to 3 are about.
func writeNFTables(b *bytes.Buffer, p *plan) {
	b.WriteString("#!/usr/sbin/nft -f\n#\n")
	head := strings.Split(intro, "\n")
	head = append(head, p.notes...)
	head = append(head,
		`Load it with "nft -f FILE"; "nft -c -f FILE" only checks it. Loading it again takes the place of the old.`,
		"It is for a Linux router that forwards for the clients. An accept here ends this table only: the machine's",
		"own filter still decides. If Rideau runs on the router itself, what it sends passes the hook output and",
		"what clients send to it the hook input, and neither meets these rules.")
	for _, line := range head {
		fmt.Fprintln(b, "#", line)
	}
	for _, line := range p.warning() {
		fmt.Fprintln(b, "# !!", line)
	}
	b.WriteString(`
table inet rideau_egress
delete table inet rideau_egress

table inet rideau_egress {
`)
	for f, name := range []string{"4", "6"} {
		kind := "ipv" + name + "_addr"
		nftSet(b, "Rideau's own addresses.", "rideau"+name, kind, "", join(p.rideau[f], ", "))
		nftSet(b, "Who may ask Rideau.", "client"+name, kind, "interval", join(p.clients[f], ", "))
		var up []string
		for _, u := range p.upstreams[f] {
			up = append(up, fmt.Sprintf("%v . %d", u.Addr(), u.Port()))
		}
		nftSet(b, "Whom Rideau may ask, and on which port.", "upstream"+name, kind+" . inet_service", "", strings.Join(up, ", "))
		nftPublic(b, "public"+name, kind, p.public[f])
		if len(p.banned[f]) > 0 {
			nftSet(b, "Networks that are banned.", "banned"+name, kind, "interval", join(p.banned[f], ", "))
		}
	}
	refusePlain := "		"
	if !p.known() {
		refusePlain = "		# "
	}
	fmt.Fprintf(b, `	chain forward {
		type filter hook forward priority filter - 10; policy accept;

		# Replies: a client's own port may be any of those below.
		ct direction reply accept

		# Rules 1 and 2: Rideau to its upstreams.
		ip saddr @rideau4 meta l4proto { tcp, udp } ip daddr . th dport @upstream4 accept
		ip6 saddr @rideau6 meta l4proto { tcp, udp } ip6 daddr . th dport @upstream6 accept
		# Rule 3: clients to Rideau.
		ip saddr @client4 ip daddr @rideau4 meta l4proto { tcp, udp } th dport { %[1]d, %[2]d } accept
		ip6 saddr @client6 ip6 daddr @rideau6 meta l4proto { tcp, udp } th dport { %[1]d, %[2]d } accept

		# Rule 4: plain DNS elsewhere.
%[3]smeta l4proto { tcp, udp } th dport %[1]d goto refuse
		# Rule 5: DoT and DoQ elsewhere.
		meta l4proto { tcp, udp } th dport %[2]d goto refuse
		# Rule 6: DoQ on the ports it had before its RFC.
		udp dport { %[4]s } goto refuse
		# Rule 7: HTTPS to public resolvers.
		ip daddr @public4 meta l4proto { tcp, udp } th dport 443 goto refuse
		ip6 daddr @public6 meta l4proto { tcp, udp } th dport 443 goto refuse
`, portDNS, portDoT, refusePlain, ports(oldDoQ, ", "))
	if p.console {
		b.WriteString("		# Rule 8: Kaspersky's cloud console.\n")
		for f, name := range []string{"ip saddr @client4", "ip6 saddr @client6"} {
			if len(p.clients[f]) > 0 {
				fmt.Fprintf(b, "		%s tcp dport { %s } goto refuse\n", name, ranges(consolePorts, "-", ", "))
			}
		}
	}
	if len(p.banned[v4])+len(p.banned[v6]) > 0 {
		b.WriteString("		# Rule 9: banned networks.\n")
		for f, name := range []string{"ip daddr @banned4", "ip6 daddr @banned6"} {
			if len(p.banned[f]) > 0 {
				fmt.Fprintf(b, "		%s goto refuse\n", name)
			}
		}
	}
	b.WriteString(`	}

	chain refuse {
		limit rate 10/second burst 20 packets log prefix "rideau-egress: "
		counter
		meta l4proto tcp reject with tcp reset
		reject with icmpx admin-prohibited
	}
}
`)
}

func nftSet(b *bytes.Buffer, what, name, kind, flags, elements string) {
	fmt.Fprintf(b, "	# %s\n	set %s {\n		type %s\n", what, name, kind)
	if flags != "" {
		fmt.Fprintf(b, "		flags %s\n", flags)
	}
	if elements != "" {
		fmt.Fprintf(b, "		elements = { %s }\n", elements)
	}
	b.WriteString("	}\n\n")
}

// nftPublic writes the set of public resolvers. An address of two operators
// is written once.
func nftPublic(b *bytes.Buffer, name, kind string, public []Public) {
	fmt.Fprintf(b, "	# Public resolvers, for DNS over HTTPS.\n	set %s {\n		type %s\n", name, kind)
	seen := map[netip.Addr]bool{}
	if len(public) > 0 {
		b.WriteString("		elements = {\n")
		for _, r := range public {
			fmt.Fprintf(b, "			# %s\n", r.Operator)
			for _, a := range r.Addrs {
				if !seen[a] {
					fmt.Fprintf(b, "			%v,\n", a)
				}
				seen[a] = true
			}
		}
		b.WriteString("		}\n")
	}
	b.WriteString("	}\n\n")
}

// ports returns numbers as text.
func ports(s []uint16, sep string) string {
	var out []string
	for _, p := range s {
		out = append(out, fmt.Sprint(p))
	}
	return strings.Join(out, sep)
}

// ranges returns ranges of ports as text.
func ranges(s [][2]uint16, to, sep string) string {
	var out []string
	for _, r := range s {
		out = append(out, fmt.Sprintf("%d%s%d", r[0], to, r[1]))
	}
	return strings.Join(out, sep)
}
