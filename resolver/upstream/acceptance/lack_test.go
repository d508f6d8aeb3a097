package acceptance_test

import (
	"testing"

	"github.com/miekg/dns"

	"rideau/resolver/upstream/acceptance"
	"rideau/resolver/wire"
)

// What a response to a question for the address of www.example. lacks to be a
// resolver's answer. The records before the empty string are of the answer section,
// those behind it of the authority section.
func TestLackOf(t *testing.T) {
	const (
		address = "www.example. 60 IN A 192.0.2.1"
		alias   = "www.example. 60 IN CNAME other.example."
		there   = "other.example. 60 IN A 192.0.2.1"
		soa     = "example. 60 IN SOA a. b. 1 2 3 4 60"
	)
	for what, tt := range map[string]struct {
		code         int
		noRA, aa, tc bool
		records      []string
		want         acceptance.Lack
	}{
		"an address":                            {records: []string{address}},
		"an address, RA=0":                      {records: []string{address}, noRA: true},
		"an alias and its address":              {records: []string{alias, there}},
		"an alias alone":                        {records: []string{alias}},
		"an alias alone, RA=0":                  {records: []string{alias}, noRA: true, want: acceptance.LacksRest},
		"an alias beside an address":            {records: []string{alias, address}, want: acceptance.LacksRest},
		"an alias beside data, and its address": {records: []string{alias, address, there}},
		"an alias of itself":                    {records: []string{"www.example. 60 IN CNAME www.example."}, want: acceptance.LacksEnd},
		"aliases in a circle":                   {records: []string{alias, "other.example. 60 IN CNAME www.example."}, want: acceptance.LacksEnd},
		"another class":                         {records: []string{"www.example. 60 CH A \\# 4 c0000201"}, want: acceptance.LacksData},
		"another name":                          {records: []string{there}, want: acceptance.LacksAll},
		"another type":                          {records: []string{"www.example. 60 IN TXT x"}, want: acceptance.LacksData},
		"no data":                               {records: []string{"", soa}},
		"no data, without SOA":                  {},
		"no data, without SOA, RA=0":            {noRA: true, want: acceptance.LacksData},
		"no data, RA=0, AA=1":                   {noRA: true, aa: true},
		"an upward referral, RA=0":              {records: []string{"", ". 60 IN NS a."}, noRA: true, want: acceptance.LacksAll},
		"an upward referral":                    {records: []string{"", ". 60 IN NS a."}, want: acceptance.LacksAll},
		"a downward referral, RA=0":             {records: []string{"", "example. 60 IN NS a."}, noRA: true, want: acceptance.LacksAll},
		"a downward referral":                   {records: []string{"", "example. 60 IN NS a."}, want: acceptance.LacksData},
		"no data, with name servers":            {records: []string{"", "example. 60 IN NS a.", soa}},
		"no data, with name servers, AA=1":      {records: []string{"", "example. 60 IN NS a."}, aa: true},
		"NXDOMAIN":                              {code: dns.RcodeNameError},
		"YXDOMAIN":                              {code: dns.RcodeYXDomain, want: acceptance.LacksData},
		"YXDOMAIN of a DNAME":                   {code: dns.RcodeYXDomain, records: []string{"example. 60 IN DNAME long."}},
		"NXRRSET":                               {code: dns.RcodeNXRrset, want: acceptance.LacksAll},
		"an address, truncated":                 {records: []string{address}, tc: true},
		"a downward referral and addresses":     {records: []string{address, "", "example. 60 IN NS a."}, noRA: true},
	} {
		m := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
		m.Response, m.Rcode, m.RecursionAvailable, m.Authoritative, m.Truncated = true, tt.code, !tt.noRA, tt.aa, tt.tc
		section := &m.Answer
		for _, text := range tt.records {
			if text == "" {
				section = &m.Ns
				continue
			}
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			*section = append(*section, rr)
		}
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var r wire.Response
		if err := r.Parse(msg, new(wire.Name)); err != nil {
			t.Fatal(err)
		}
		if got := acceptance.LackOf(msg, &r); got != tt.want {
			t.Errorf("%s: lack %d, want %d", what, got, tt.want)
		}
	}
}
