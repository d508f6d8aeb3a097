package resolvertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// The world is the server that all resolvers of a comparison forward to. Its
// records follow from the name: the label below world has a letter, which says
// what the name has, and a number, which varies that.
//
//	aN  records of many types, with TTLs of every kind
//	bN  text, up to 60 KB of it
//	cN  an alias; N%8 is of what
//	dN  a DNAME, onto world itself
//	eN  any name below it exists, unusual ones included
//	nN  NODATA; n1 and every fifth from there without an SOA record
//	xN  NXDOMAIN, the same way
//	rN  another response code
//	oN  a response that is odd: see oddity
//	mN  records whose sizes are about where a datagram ends
//	lN  a chain of N aliases
const world = "lab.example."

// ttls of records, by number.
var worldTTLs = []uint32{300, 1, 5, 30, 0, 3600, 86399, 86400, 86401, 604800, 1<<31 - 1, 1 << 31, 1<<32 - 1}

// worldLabel returns the letter and the number of a name, and how many labels
// precede them. Other names have no letter.
func worldLabel(name string) (letter byte, n, below int) {
	labels := dns.SplitDomainName(strings.ToLower(name))
	if !dns.IsSubDomain(world, name) || len(labels) < 3 {
		return 0, 0, 0
	}
	label := labels[len(labels)-3]
	if _, err := fmt.Sscanf(label[1:]+" ", "%d", &n); err != nil {
		return 0, 0, 0
	}
	return label[0], n, len(labels) - 3
}

// worldReply is the response to a question.
func worldReply(q *dns.Msg, tcp bool) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	opt := q.IsEdns0()
	size := 512
	if opt != nil {
		m.SetEdns0(1232, opt.Do())
		size = int(max(512, opt.UDPSize()))
	}
	question := q.Question[0]
	letter, n, below := worldLabel(question.Name)
	switch {
	case question.Qclass != dns.ClassINET:
		m.Rcode = dns.RcodeRefused
	case letter == 'r':
		// YXDOMAIN, NXRRSET, NOTAUTH, NOTZONE and 11 belong to other opcodes.
		m.Rcode = []int{2, 5, 2, 5, 6, 8, 9, 10, 11}[n%9]
	default:
		name, stop := strings.ToLower(question.Name), false
		for range 200 {
			target, links := worldAlias(name)
			if target == "" {
				break
			}
			m.Answer = append(m.Answer, links...)
			if stop = target == name || question.Qtype == dns.TypeCNAME; stop {
				break
			}
			name = target
		}
		if !stop {
			worldEnd(m, name, question.Qtype)
		}
		if letter == 'o' && below == 0 {
			oddity(m, n, question, tcp)
		}
	}
	if opt != nil && opt.Do() && len(m.Answer) > 0 {
		m.Answer = append(m.Answer, signatures(m.Answer)...)
	}
	m.Compress = n%3 != 0
	if !tcp && m.Len() > size {
		m.Answer, m.Ns, m.Truncated = nil, nil, true
	}
	return m
}

// worldEnd adds the records of the name at the end of the aliases.
func worldEnd(m *dns.Msg, name string, qtype uint16) {
	letter, n, _ := worldLabel(name)
	found, exists := worldRecords(name, qtype)
	m.Answer = append(m.Answer, found...)
	if len(found) > 0 {
		return
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if (letter == 'n' || letter == 'x') && n%5 == 1 {
		return
	}
	ttl := []uint32{300, 60, 5, 3600, 90000}[n%5]
	m.Ns = append(m.Ns, record("%s %d IN SOA ns.%s root.%s 1 3600 600 86400 900", world, ttl, world, world))
}

// worldAlias is the target of a name that is an alias, and the records that say so.
func worldAlias(name string) (target string, links []dns.RR) {
	letter, n, below := worldLabel(name)
	switch {
	case letter == 'c' && below == 0:
		target = fmt.Sprintf([]string{"a%d", "a%d", "c%d", "n%d", "x%d", "b%d", "w.e%d", "c%d"}[n%8], n+8) + "." + world
		if n%8 == 7 {
			target = name // to itself
		}
		if n%8 == 2 && n > 40 {
			target = fmt.Sprintf("a%d.%s", n, world)
		}
		return target, []dns.RR{record("%s %d IN CNAME %s", name, worldTTLs[n%6], target)}
	case letter == 'l' && below == 0:
		target = fmt.Sprintf("l%d.%s", n-1, world)
		if n <= 1 {
			target = "a1." + world
		}
		return target, []dns.RR{record("%s 300 IN CNAME %s", name, target)}
	case letter == 'd' && below > 0:
		owner := fmt.Sprintf("d%d.%s", n, world)
		target = strings.TrimSuffix(name, owner) + world
		if len(target) > 253 {
			return "", nil
		}
		return target, []dns.RR{record("%s 300 IN DNAME %s", owner, world), record("%s 300 IN CNAME %s", name, target)}
	}
	return "", nil
}

// worldRecords are the records of a type of a name that is no alias.
func worldRecords(name string, t uint16) (out []dns.RR, exists bool) {
	letter, n, below := worldLabel(name)
	ttl := worldTTLs[n%len(worldTTLs)]
	add := func(want uint16, f string, args ...any) {
		if t == want || t == dns.TypeANY {
			rr := record("x. 0 IN "+f, args...)
			rr.Header().Name, rr.Header().Ttl = name, ttl
			out = append(out, rr)
		}
	}
	switch {
	case name == "t9999.ready.example.": // see startPeer
		add(dns.TypeTXT, "TXT ready")
		return out, true
	case dns.IsSubDomain(name, world):
		if t == dns.TypeSOA && strings.EqualFold(name, world) {
			out = append(out, record("%s 300 IN SOA ns.%s root.%s 1 3600 600 86400 300", world, world, world))
		}
		return out, true
	case letter == 'a' && below == 0:
		for i := range 1 + n%4 {
			add(dns.TypeA, "A 192.0.2.%d", 1+i)
		}
		if n%2 == 0 {
			add(dns.TypeAAAA, "AAAA 2001:db8::%x", n+1)
		}
		add(dns.TypeTXT, "TXT \"text %d\" \"\" \"\\000\\255\"", n)
		add(dns.TypeMX, "MX 10 a%d.%s", n+1, world)
		add(dns.TypeMX, "MX 20 Mail.%s", world)
		add(dns.TypeSRV, "SRV 0 1 443 A%d.%s", n, world)
		add(dns.TypeHTTPS, "HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.1")
		add(dns.TypeSVCB, "SVCB 0 a%d.%s", n, world)
		add(dns.TypeCAA, "CAA 0 issue \"ca.example\"")
		add(dns.TypePTR, "PTR a%d.%s", n, world)
		add(dns.TypeNAPTR, "NAPTR 100 10 \"U\" \"E2U+sip\" \"!^.*$!sip:a@example!\" .")
		add(dns.TypeLOC, "LOC 45 25 0.000 N 75 42 0.000 W 70m")
		add(dns.TypeTLSA, "TLSA 3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971")
		add(dns.TypeDS, "DS 12345 13 2 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971")
		add(65400, "TYPE65400 \\# %d %0*x", 1+n%40, 2*(1+n%40), n%250)
		return out, true
	case letter == 'b' && below == 0:
		length := []int{300, 900, 1100, 1150, 1200, 1250, 1500, 4000, 15000, 50000}[n%10] + n
		for left := length; left > 0; left -= 250 {
			add(dns.TypeTXT, "TXT \"%05d%s\"", left, strings.Repeat("x", min(left, 245)))
		}
		return out, true
	case letter == 'm' && below == 0:
		// Response sizes around 512 and 1232, an octet apart.
		base := []int{512, 1232}[n%2] - len(name)
		for left := base - 60 + n%60; left > 0; left -= 200 {
			if k := min(left, 200) - 13; k > 0 {
				add(dns.TypeTXT, "TXT \"%s\"", strings.Repeat(string(rune('a'+left/200)), k))
			}
		}
		return out, true
	case letter == 'e' && below > 0:
		add(dns.TypeA, "A 192.0.2.%d", 1+n%200)
		add(dns.TypeTXT, "TXT \"wild\"")
		return out, true
	case letter == 'e' || letter == 'n' && below == 0 || letter == 'd' && below == 0:
		if letter == 'd' && t == dns.TypeDNAME {
			out = append(out, record("%s 300 IN DNAME %s", name, world))
		}
		return out, true
	case letter == 'o' && below == 0:
		add(dns.TypeA, "A 192.0.2.%d", 1+n%200)
		add(dns.TypeTXT, "TXT \"odd %d\"", n)
		return out, true
	}
	return nil, false
}

// oddity makes a response odd, in a way that is no reason to reject it.
func oddity(m *dns.Msg, n int, q dns.Question, tcp bool) {
	other := record("a1.other-%s 300 IN A 203.0.113.1", world)
	switch n % 14 {
	case 0:
		m.Authoritative = true
	case 1:
		m.Zero = true
	case 2:
		m.RecursionAvailable = false
	case 3: // the same record twice
		if len(m.Answer) > 0 {
			m.Answer = append(m.Answer, dns.Copy(m.Answer[0]))
		}
	case 4: // unsolicited
		m.Extra = append([]dns.RR{other}, m.Extra...)
	case 5: // unsolicited, and it would poison
		m.Extra = append([]dns.RR{record("a1.%s 300 IN A 203.0.113.66", world)}, m.Extra...)
		m.Ns = append(m.Ns, record("%s 300 IN NS evil.%s", world, world))
	case 6: // NXDOMAIN although there is an answer
		if len(m.Answer) > 0 {
			m.Rcode = dns.RcodeNameError
		}
	case 7: // no EDNS
		m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	case 8: // options that nobody asked for
		if opt := m.IsEdns0(); opt != nil {
			opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("hello")}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "6869"})
		}
	case 9: // truncated although it would fit
		m.Truncated = !tcp
	case 10: // different TTLs in one set
		if len(m.Answer) > 0 {
			rr := record("%s 10 IN %s 192.0.2.254", m.Answer[0].Header().Name, "A")
			if q.Qtype == dns.TypeA {
				m.Answer = append(m.Answer, rr)
			}
		}
	case 11: // names in other letters
		for _, rr := range m.Answer {
			rr.Header().Name = strings.ToUpper(rr.Header().Name)
		}
	case 12: // name servers and glue
		m.Ns = append(m.Ns, record("%s 300 IN NS ns.%s", world, world))
		m.Extra = append([]dns.RR{record("ns.%s 300 IN A 198.51.100.1", world)}, m.Extra...)
	case 13: // a large EDNS size
		if opt := m.IsEdns0(); opt != nil {
			opt.SetUDPSize(65535)
		}
	}
}

// signatures are invented RRSIG records, one for each RRset.
func signatures(answer []dns.RR) (out []dns.RR) {
	seen := map[string]bool{}
	for i, rr := range answer {
		h := rr.Header()
		key := fmt.Sprint(strings.ToLower(h.Name), h.Rrtype)
		if seen[key] || i > 0 && answer[i-1].Header().Rrtype == dns.TypeDNAME {
			continue // a CNAME record that follows from a DNAME has no signature
		}
		seen[key] = true
		out = append(out, &dns.RRSIG{
			Hdr:         dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: h.Ttl},
			TypeCovered: h.Rrtype, Algorithm: 13, Labels: uint8(dns.CountLabel(h.Name)), OrigTtl: h.Ttl,
			Expiration: 2000000000, Inception: 1700000000, KeyTag: 12345, SignerName: world, Signature: "bm8ga2V5IG1hZGUgdGhpcw==",
		})
	}
	return out
}

// serveWorld serves worldReply on one port of 127.0.0.1.
func serveWorld(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, l := listen(t)
	for network, s := range map[string]*dns.Server{"udp": {PacketConn: pc}, "tcp": {Listener: l}} {
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(worldReply(q, network == "tcp")) })
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// asking is one query of a comparison, with everything that varies.
type asking struct {
	name    string // in the letter case in which it is sent
	qtype   uint16
	class   uint16
	rd, cd  bool
	ad, z   bool
	edns    bool
	do      bool
	ednsZ   bool // the other flags of EDNS
	size    uint16
	version uint8
	options bool // unknown ones
	tcp     bool
}

func (a asking) msg() *dns.Msg {
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData, m.Zero = a.rd, a.cd, a.ad, a.z
	m.Question = []dns.Question{{Name: a.name, Qtype: a.qtype, Qclass: a.class}}
	if a.edns {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: a.size}}
		if a.do {
			opt.Hdr.Ttl |= 1 << 15
		}
		if a.ednsZ {
			opt.Hdr.Ttl |= 0x2AAA
		}
		opt.Hdr.Ttl |= uint32(a.version) << 16
		if a.options {
			opt.Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1, 2, 3}}, &dns.EDNS0_LOCAL{Code: 4711}}
		}
		m.Extra = []dns.RR{opt}
	}
	return m
}

func (a asking) String() string {
	s := fmt.Sprintf("%s %s %s", a.name, dns.Class(a.class), dns.Type(a.qtype))
	for flag, set := range map[string]bool{"rd": a.rd, "cd": a.cd, "ad": a.ad, "z": a.z, "do": a.do, "ednsz": a.ednsZ, "options": a.options, "tcp": a.tcp} {
		if set {
			s += " " + flag
		}
	}
	if a.edns {
		s += fmt.Sprintf(" edns%d size=%d", a.version, a.size)
	}
	return s
}

// askings are n generated queries.
func askings(seed uint64, n int) (out []asking) {
	rnd := rand.New(rand.NewPCG(seed, 9))
	one := func(k int) bool { return rnd.IntN(k) == 0 }
	types := []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeTXT, dns.TypeMX, dns.TypeSRV, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeCAA, dns.TypePTR, dns.TypeNAPTR,
		dns.TypeLOC, dns.TypeTLSA, dns.TypeDS, 65400, 4660, dns.TypeCNAME, dns.TypeDNAME, dns.TypeSOA}
	for range n {
		letter := "aaaabbccccddeemmmnnoooorxxl"[rnd.IntN(27)]
		a := asking{name: fmt.Sprintf("%c%d.%s", letter, rnd.IntN(80), world), qtype: types[rnd.IntN(len(types))], class: dns.ClassINET, rd: true}
		if strings.ContainsRune("bm", rune(letter)) {
			a.qtype = dns.TypeTXT
		}
		switch letter {
		case 'd', 'e':
			prefix := []string{"a5.", "a6.", "x1.", "_443._tcp.", "\\000.", "\\.\\.x\\ y.", "*.", "xn--p1ai.", strings.Repeat("l", 63) + ".", "c8.",
				strings.Repeat(strings.Repeat("q", 60)+".", 3) + "www."}
			a.name = prefix[rnd.IntN(len(prefix))] + a.name
		case 'x':
			if one(2) {
				a.name = "below." + a.name
			}
		}
		letters := []byte(a.name)
		for i, c := range letters {
			if c >= 'a' && c <= 'z' && one(3) {
				letters[i] -= 'a' - 'A'
			}
		}
		a.name = string(letters)
		a.cd, a.ad, a.z, a.tcp = one(6), one(6), one(20), one(5)
		if !one(5) {
			a.edns, a.do, a.ednsZ, a.options = true, one(3), one(10), one(6)
			a.size = []uint16{1232, 1232, 4096, 512, 1400, 0, 100, 65535, 600}[rnd.IntN(9)]
			if one(40) {
				a.version = uint8(1 + rnd.IntN(255))
			}
		}
		switch rnd.IntN(60) {
		case 0:
			a.class = []uint16{dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassNONE, 0, 4711}[rnd.IntN(5)]
		case 1:
			a.qtype = []uint16{dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILB, dns.TypeTKEY, dns.TypeTSIG, 0}[rnd.IntN(6)]
			a.tcp = false
			if a.qtype == 0 { // BIND takes its denial for that of all types
				a.name = fmt.Sprintf("n%d.%s", 500+rnd.IntN(80), world)
			}
		case 2:
			a.qtype = dns.TypeANY
		}
		out = append(out, a)
	}
	return out
}
