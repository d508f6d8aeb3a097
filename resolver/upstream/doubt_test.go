package upstream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/upstream"
	"rideau/resolver/upstream/do53"
)

// An NXDOMAIN that is doubted is asked for at the others that are up, together after
// the first, and is the answer if none of them says more. One that nobody doubts is
// final. No silent server makes the client wait longer than its limit.
func TestDoubtedNXDomain(t *testing.T) {
	const ms = time.Millisecond
	doubting := upstream.WithDoubt(context.Background(), func(resp []byte) bool { return true })
	trusting := upstream.WithDoubt(context.Background(), func(resp []byte) bool { return false })
	for _, tt := range []struct {
		name string
		ctx  context.Context
		says []string // by the servers in order; "" is silence
		took time.Duration
		end  string
		last int // the last of them that is asked
	}{
		{"none doubts", context.Background(), []string{"NXDOMAIN", "b"}, 10 * ms, "NXDOMAIN", 0},
		{"it is no contradiction", trusting, []string{"NXDOMAIN", "b"}, 10 * ms, "NXDOMAIN", 0},
		{"first of two", doubting, []string{"NXDOMAIN", "b"}, 20 * ms, "b", 1},
		{"second of two", doubting, []string{"a", "NXDOMAIN"}, 10 * ms, "a", 0},
		{"after a failure", doubting, []string{"SERVFAIL", "NXDOMAIN", "c"}, 30 * ms, "c", 2},
		{"alone", doubting, []string{"NXDOMAIN"}, 10 * ms, "NXDOMAIN", 0},
		{"two of three", doubting, []string{"NXDOMAIN", "NXDOMAIN", "c"}, 20 * ms, "c", 2},
		{"all say so", doubting, []string{"NXDOMAIN", "NXDOMAIN", "NXDOMAIN"}, 20 * ms, "NXDOMAIN", 2},
		{"the other fails", doubting, []string{"NXDOMAIN", "SERVFAIL"}, 20 * ms, "NXDOMAIN", 1},
		{"the other has no data", doubting, []string{"NXDOMAIN", "NOERROR"}, 20 * ms, "NOERROR", 1},
		{"the other is silent", doubting, []string{"NXDOMAIN", ""}, 510 * ms, "NXDOMAIN", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, len(tt.says), func(t *testing.T, g *upstream.Group, f []*fake) {
				for i, says := range tt.says {
					f[i].say(10*ms, says)
				}
				askWith(t, tt.ctx, g, tt.took, tt.end)
				for i := range f {
					if asked := f[i].times() != "[]"; asked != (i <= tt.last) {
						t.Errorf("server %d was asked: %v", i, asked)
					}
				}
			})
		})
	}
	t.Run("the other is down", func(t *testing.T) {
		bubble(t, 2, func(t *testing.T, g *upstream.Group, f []*fake) {
			f[0].say(0, "refuse")
			f[1].say(10*ms, "b")
			for range 4 {
				ask(t, g, 10*ms, "b")
			}
			f[0].say(0, "a")
			f[1].say(10*ms, "NXDOMAIN")
			askWith(t, doubting, g, 10*ms, "NXDOMAIN")
		})
	})
}

// A validated NXDOMAIN is not doubted.
func TestValidatedNXDomain(t *testing.T) {
	signed := serve(t, saying("", rcode(dns.RcodeNameError), func(m *dns.Msg) { m.AuthenticatedData = true }), nil)
	other := serve(t, saying("b"), nil)
	for _, trust := range []bool{true, false} {
		g := upstream.NewGroup(fmt.Sprint(trust), upstream.Options{}, do53.New(signed.addr, do53.Options{TrustAD: trust}), plainServer(other))
		q := query(t, "example.com")
		msg, err := g.Exchange(upstream.WithDoubt(within(t, patience), func([]byte) bool { return true }), nil, q)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(t, q, msg); (got == "") != trust {
			t.Errorf("trusted %v: %q", trust, got)
		}
	}
}

// TestBogus: what a trusted server has found to be bogus is not answered on the word
// of one that is not trusted to validate.
func TestBogus(t *testing.T) {
	bogus := serve(t, saying("", rcode(dns.RcodeServerFailure), func(m *dns.Msg) {
		if m.IsEdns0() == nil {
			m.SetEdns0(1232, false)
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus})
	}), nil)
	for _, test := range []struct {
		first, second, ad bool // who is trusted, and whether the second sets AD
		answered          bool
	}{
		{first: true, second: true, ad: true, answered: true},
		{first: true, second: true},
		{first: true, ad: true},
		{first: true},
		{second: true, ad: true, answered: true},
		{second: true},
		{ad: true, answered: true},
		{},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			other := serve(t, saying("b", func(m *dns.Msg) { m.AuthenticatedData = test.ad }), nil)
			g := upstream.NewGroup("signed", upstream.Options{},
				do53.New(bogus.addr, do53.Options{TrustAD: test.first}), do53.New(other.addr, do53.Options{TrustAD: test.second}))
			q := query(t, "example.com")
			msg, err := g.Exchange(within(t, patience), nil, q)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(t, q, msg); (got == "b") != test.answered {
				t.Errorf("answered %q", got)
			}
		})
	}
}
