package egress

import (
	"bytes"
	"fmt"
	"strings"
)

// writePF writes rules for an anchor. All are quick: the first that matches
// decides.
func writePF(b *bytes.Buffer, p *plan) {
	head := strings.Split(intro, "\n")
	head = append(head, p.notes...)
	head = append(head,
		"For an anchor of pf.conf(5), before the rules that let clients out:",
		`  anchor "rideau-egress"`,
		`  load anchor "rideau-egress" from "/etc/pf.rideau-egress.conf"`,
		`"pfctl -n -f /etc/pf.conf" only checks. The rules hold on the way in, on every interface; where the outside may`,
		`ask DNS servers of yours, PUT IN BY HAND the inner interface after "in", as in "in on em1".`,
		"The filter keeps state: replies do not meet the rules.")
	for _, line := range head {
		fmt.Fprintln(b, "#", line)
	}
	for _, line := range p.warning() {
		fmt.Fprintln(b, "# !!", line)
	}
	pfTable(b, "Rideau's own addresses.", "rideau", joinBoth(p.rideau))
	pfTable(b, "Who may ask Rideau.", "rideau_clients", joinBoth(p.clients))
	fmt.Fprint(b, "\n# Public resolvers, for DNS over HTTPS.\n")
	b.WriteString("table <rideau_public> const {")
	for _, family := range p.public {
		for _, r := range family {
			fmt.Fprintf(b, " \\\n	%s", join(r.Addrs, " "))
		}
	}
	b.WriteString(" }\n")

	b.WriteString("\n# Rules 1 and 2: Rideau to its upstreams.\n")
	for f, name := range []string{"inet", "inet6"} {
		list, addrs := byPort(p.upstreams[f])
		for _, port := range list {
			fmt.Fprintf(b, "pass in quick %s proto { tcp, udp } from <rideau> to { %s } port %d\n", name, join(addrs[port], ", "), port)
		}
	}
	fmt.Fprintf(b, `
# Rule 3: clients to Rideau.
pass in quick proto { tcp, udp } from <rideau_clients> to <rideau> port { %[1]d, %[2]d }
`, portDNS, portDoT)

	plain := ""
	if !p.known() {
		plain = "# "
	}
	fmt.Fprintf(b, `
# Rule 4: plain DNS elsewhere.
%[3]sblock return in log quick proto { tcp, udp } to any port %[1]d

# Rule 5: DoT and DoQ elsewhere.
block return in log quick proto { tcp, udp } to any port %[2]d

# Rule 6: DoQ on the ports it had before its RFC.
block return in log quick proto udp to any port { %[4]s }

# Rule 7: HTTPS to public resolvers.
block return in log quick proto { tcp, udp } to <rideau_public> port 443
`, portDNS, portDoT, plain, ports(oldDoQ, ", "))
	if p.console {
		fmt.Fprintf(b, `
# Rule 8: Kaspersky's cloud console.
block return in log quick proto tcp from <rideau_clients> to any port { %s }
`, ranges(consolePorts, ":", ", "))
	}
	if len(p.banned[v4])+len(p.banned[v6]) > 0 {
		pfTable(b, "Networks that are banned.", "rideau_banned", joinBoth(p.banned))
		b.WriteString("\n# Rule 9: banned networks.\nblock return in log quick to <rideau_banned>\n")
	}
}

func pfTable(b *bytes.Buffer, what, name, elements string) {
	fmt.Fprintf(b, "\n# %s\ntable <%s> const {", what, name)
	if elements != "" {
		fmt.Fprintf(b, " %s", elements)
	}
	b.WriteString(" }\n")
}

// joinBoth returns the elements of both families, as pf's tables have them.
func joinBoth[T fmt.Stringer](s [2][]T) string {
	return strings.TrimSpace(join(s[v4], " ") + " " + join(s[v6], " "))
}
