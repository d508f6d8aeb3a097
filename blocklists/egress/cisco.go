package egress

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// writeCisco writes an access list for each family, without object groups,
// which not every release has for IPv6.
func writeCisco(b *bytes.Buffer, p *plan) {
	head := strings.Split(intro, "\n")
	head = append(head, p.notes...)
	head = append(head,
		"For IOS and IOS XE. PUT IN BY HAND: bind the lists, inbound, to the interfaces where clients and Rideau are:",
		"  interface Vlan10",
		"   ip access-group RIDEAU-EGRESS in",
		"   ipv6 traffic-filter RIDEAU-EGRESS6 in",
		"While a list is written anew, the interface lets everything pass. The last entries let out what no rule is",
		"about: put your own in their place if you have any. Refusals are ICMP unreachables, unless they are switched off",
		"(no ip unreachables). What a UDP server answers to a client's port 784 or 8853 meets rule 6, too; this is rare.")
	for _, line := range head {
		fmt.Fprintln(b, "!", line)
	}
	for _, line := range p.warning() {
		fmt.Fprintln(b, "! !!", line)
	}
	b.WriteString("!\nno ip access-list extended RIDEAU-EGRESS\nip access-list extended RIDEAU-EGRESS\n")
	ciscoEntries(b, p, v4, "ip")
	b.WriteString("!\nno ipv6 access-list RIDEAU-EGRESS6\nipv6 access-list RIDEAU-EGRESS6\n")
	ciscoEntries(b, p, v6, "ipv6")
	b.WriteString("!\n")
}

// ciscoEntries writes the entries of a family's list.
func ciscoEntries(b *bytes.Buffer, p *plan, f int, all string) {
	remark := func(text string) { fmt.Fprintf(b, " remark %s\n", text) }
	both := func(action, rest string) {
		fmt.Fprintf(b, " %s tcp %s\n %s udp %s\n", action, rest, action, rest)
	}
	remark("replies: a client's own port may be any of those below")
	b.WriteString(" permit tcp any any established\n")
	remark("rules 1 and 2: Rideau to its upstreams")
	for _, r := range p.rideau[f] {
		for _, u := range p.upstreams[f] {
			both("permit", fmt.Sprintf("host %v host %v eq %d", r, u.Addr(), u.Port()))
		}
	}
	remark("replies of Rideau to its clients, and of upstreams within the network")
	for _, r := range p.rideau[f] {
		for _, port := range []int{portDNS, portDoT} {
			fmt.Fprintf(b, " permit udp host %v eq %d any\n", r, port)
		}
	}
	for _, u := range p.upstreams[f] {
		for _, r := range p.rideau[f] {
			fmt.Fprintf(b, " permit udp host %v eq %d host %v\n", u.Addr(), u.Port(), r)
		}
	}
	remark("rule 3: clients to Rideau")
	for _, c := range p.clients[f] {
		for _, r := range p.rideau[f] {
			for _, port := range []int{portDNS, portDoT} {
				both("permit", fmt.Sprintf("%s host %v eq %d", ciscoRange(c), r, port))
			}
		}
	}
	remark("rule 4: plain DNS elsewhere")
	if p.known() {
		both("deny", fmt.Sprintf("any any eq %d log", portDNS))
	} else {
		fmt.Fprintf(b, " remark deny tcp any any eq %d log\n remark deny udp any any eq %[1]d log\n", portDNS)
	}
	remark("rule 5: DoT and DoQ elsewhere")
	both("deny", fmt.Sprintf("any any eq %d log", portDoT))
	remark("rule 6: DoQ on the ports it had before its RFC")
	for _, port := range oldDoQ {
		fmt.Fprintf(b, " deny udp any any eq %d log\n", port)
	}
	seen := map[netip.Addr]bool{}
	for _, r := range p.public[f] {
		remark("rule 7: HTTPS to public resolvers: " + r.Operator)
		for _, a := range r.Addrs {
			if !seen[a] {
				both("deny", fmt.Sprintf("any host %v eq 443 log", a))
			}
			seen[a] = true
		}
	}
	if p.console {
		remark("rule 8: Kaspersky's cloud console")
		for _, c := range p.clients[f] {
			for _, r := range consolePorts {
				fmt.Fprintf(b, " deny tcp %s any range %d %d log\n", ciscoRange(c), r[0], r[1])
			}
		}
	}
	if len(p.banned[f]) > 0 {
		remark("rule 9: banned networks")
		for _, n := range p.banned[f] {
			fmt.Fprintf(b, " deny %s any %s log\n", all, ciscoRange(n))
		}
	}
	remark("everything else")
	fmt.Fprintf(b, " permit %s any any\n", all)
}

// ciscoRange returns a range as access lists write it: with the bits that may
// differ (a wildcard mask) for IPv4, with its length for IPv6.
func ciscoRange(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "any"
	case p.IsSingleIP():
		return "host " + p.Addr().String()
	case p.Addr().Is6():
		return p.String()
	}
	wild := ^uint32(0) >> p.Bits()
	return fmt.Sprintf("%v %v", p.Addr(), netip.AddrFrom4([4]byte{byte(wild >> 24), byte(wild >> 16), byte(wild >> 8), byte(wild)}))
}
