package wire_test

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire"
)

// A malformed record beside the answer is left out, with all that follows, and what
// is left is in order. In an answer or a denial it makes the response an error.
func TestMalformedBeside(t *testing.T) {
	mark := []byte{203, 0, 113, 99} // the malformed record has it
	rr := func(s string) dns.RR {
		r, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// Types whose RDATA is too long by what the mark is followed by.
	bad := func(owner string) dns.RR {
		return &dns.RFC3597{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300, Rdlength: 5}, Rdata: "cb00716300"}
	}
	badSVCB := &dns.RFC3597{Hdr: dns.RR_Header{Name: "mx.example.", Rrtype: dns.TypeHTTPS, Class: dns.ClassINET, Ttl: 300, Rdlength: 11},
		Rdata: "000100" + "0004" + "0005" + "cb007163"} // a hint of five octets, of which there are four
	mx, good, soa := rr("www.example. 300 IN MX 1 mx.example."), rr("mx.example. 300 IN A 192.0.2.7"), rr("example. 300 IN SOA a. b. 1 2 3 4 5")
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}}
	for _, c := range []struct {
		name                       string
		answer, authority, further []dns.RR
		rcode                      int
		want                       [3]int // records that are left in each section; -1: it is an error
	}{
		{"in the answer", []dns.RR{bad("www.example.")}, nil, nil, 0, [3]int{-1}},
		{"beside an answer, in its section", []dns.RR{mx, bad("other.example.")}, nil, nil, 0, [3]int{-1}},
		{"in a denial", nil, []dns.RR{soa, bad("www.example.")}, nil, dns.RcodeNameError, [3]int{-1}},
		{"in place of a denial", nil, []dns.RR{bad("example.")}, nil, 0, [3]int{-1}},
		{"with servers", []dns.RR{mx}, []dns.RR{soa, bad("example.")}, []dns.RR{good, opt}, 0, [3]int{1, 1, 0}},
		{"first of the servers", []dns.RR{mx}, []dns.RR{bad("example."), soa}, nil, 0, [3]int{1, 0, 0}},
		{"additional", []dns.RR{mx}, nil, []dns.RR{good, bad("mx.example."), opt}, 0, [3]int{1, 0, 1}},
		{"first of additional ones", []dns.RR{mx}, []dns.RR{soa}, []dns.RR{bad("mx.example."), good, opt}, 0, [3]int{1, 1, 0}},
		{"additional, with service parameters", []dns.RR{mx}, nil, []dns.RR{good, badSVCB}, 0, [3]int{1, 0, 1}},
		{"additional, in a denial", nil, []dns.RR{soa}, []dns.RR{bad("a.")}, dns.RcodeNameError, [3]int{0, 1, 0}},
	} {
		m := new(dns.Msg).SetQuestion("www.example.", dns.TypeMX)
		m.Response, m.Rcode = true, c.rcode
		m.Answer, m.Ns, m.Extra = c.answer, c.authority, c.further
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(c.name, err)
		}
		if !bytes.Contains(msg, mark) {
			t.Fatalf("%s: %x", c.name, msg)
		}
		var r wire.Response
		var n wire.Name
		if err := r.Parse(msg, &n); (err != nil) != (c.want[0] < 0) {
			t.Errorf("%s: %v", c.name, err)
			continue
		} else if err != nil {
			continue
		}
		left := msg[:r.End]
		got := [3]int{wire.Count(left, wire.Answer), wire.Count(left, wire.Authority), wire.Count(left, wire.Additional)}
		strict := new(dns.Msg)
		if err := strict.Unpack(left); err != nil || got != c.want || bytes.Contains(left, mark) {
			t.Errorf("%s: %v records are left, want %v: %v, %x", c.name, got, c.want, err, left)
		}
		if hasOPT := len(c.further) > 0 && c.further[len(c.further)-1] == dns.RR(opt); r.EDNS != hasOPT {
			t.Errorf("%s: its OPT record was read: %v", c.name, r.EDNS)
		}
	}
}
