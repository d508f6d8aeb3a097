package response_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/wire/response"
)

// Join returns the answers of the first response and all records of the next.
func TestJoin(t *testing.T) {
	parse := func(texts ...string) (out []dns.RR) {
		for _, text := range texts {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, rr)
		}
		return out
	}
	first := new(dns.Msg).SetQuestion("WWW.corp.example.", dns.TypeA)
	first.Response, first.AuthenticatedData, first.Authoritative, first.Compress = true, true, true, true
	first.Answer = parse("www.corp.example. 300 IN CNAME a.example.net.")
	first.Ns = parse("corp.example. 300 IN NS ns.corp.example.")
	first.Extra = parse("ns.corp.example. 300 IN A 192.0.2.53")
	next := new(dns.Msg).SetQuestion("a.example.net.", dns.TypeA)
	next.Response, next.AuthenticatedData, next.Rcode, next.Compress = true, true, dns.RcodeNameError, true
	next.Answer = parse("a.example.net. 60 IN CNAME b.example.net.", "b.example.net. 60 IN CNAME gone.example.net.")
	next.Ns = parse("example.net. 60 IN SOA ns.example.net. host.example.net. 1 2 3 4 5", "b.example.net. 60 IN NSEC z.example.net. A")
	want := first.Copy()
	want.Rcode, want.Answer, want.Ns, want.Extra = next.Rcode, append(first.Answer[:1:1], next.Answer...), next.Ns, nil

	for _, ad := range []bool{true, false} {
		next.AuthenticatedData = ad
		out, ok := response.Join(encode(t, first), encode(t, next))
		if !ok {
			t.Fatal("not joined")
		}
		got := new(dns.Msg)
		if err := got.Unpack(out); err != nil {
			t.Fatal(err)
		}
		want.AuthenticatedData = ad
		if !strings.EqualFold(got.String(), want.String()) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}

	for what, m := range map[string][]byte{"nothing": nil, "cut short": encode(t, next)[:60]} {
		if _, ok := response.Join(encode(t, first), m); ok {
			t.Errorf("%s was accepted as a response", what)
		}
	}
	long := new(dns.Msg).SetQuestion("a.example.net.", dns.TypeTXT)
	for range 250 {
		long.Answer = append(long.Answer, parse("a.example.net. 60 IN TXT "+strings.Repeat("x", 240))...)
	}
	if _, ok := response.Join(encode(t, long), encode(t, long)); ok {
		t.Error("a message that is too long was accepted")
	}
}
