package resolvertest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"rideau/resolver/resolvertest"
)

func startUpstream(t *testing.T, text string) *resolvertest.Upstream {
	t.Helper()
	u := new(resolvertest.Upstream)
	if err := u.Load(text); err != nil {
		t.Fatal(err)
	}
	u.Start(t)
	return u
}

// ask asks by UDP or TCP, with EDNS.
func ask(t *testing.T, u *resolvertest.Upstream, transport, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, true)
	m.CheckingDisabled = true
	c := &dns.Client{Net: transport, Timeout: 5 * time.Second}
	resp, _, err := c.Exchange(m, u.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestUpstreamAnswersAndRemembers(t *testing.T) {
	u := startUpstream(t, `
www.example.org A times=1 aa ad
    answer www.example.org. 300 IN A 192.0.2.1
    authority example.org. 300 IN NS ns.example.org.
    additional ns.example.org. 300 IN A 192.0.2.53
    ede 3 "old"
www.example.org A NXDOMAIN
`)
	first := ask(t, u, "udp", "WWW.example.org.", dns.TypeA)
	if first.Rcode != dns.RcodeSuccess || !first.Authoritative || !first.AuthenticatedData || !first.CheckingDisabled ||
		len(first.Answer) != 1 || len(first.Ns) != 1 || len(first.Extra) != 2 {
		t.Errorf("got %v", first)
	}
	e, ok := first.IsEdns0().Option[0].(*dns.EDNS0_EDE)
	if !ok || e.InfoCode != 3 || e.ExtraText != "old" {
		t.Errorf("got %v", first.IsEdns0())
	}
	if second := ask(t, u, "tcp", "www.example.org.", dns.TypeA); second.Rcode != dns.RcodeNameError {
		t.Errorf("got %v", second)
	}
	all := u.Queries()
	if len(all) != 2 {
		t.Fatalf("got %v", all)
	}
	q := all[0]
	if q.Name != "WWW.example.org." || q.Type != dns.TypeA || q.Class != dns.ClassINET || q.Transport != "udp" ||
		!q.RD || q.AD || !q.CD || !q.EDNS || !q.DO || q.UDPSize != 1232 || !q.From.IsValid() {
		t.Errorf("got %+v", q)
	}
	if all[1].Transport != "tcp" {
		t.Errorf("got %+v", all[1])
	}
}

func TestUpstreamReportsTheUnexpected(t *testing.T) {
	u := startUpstream(t, "")
	if resp := ask(t, u, "udp", "www.example.org.", dns.TypeA); resp.Rcode != dns.RcodeRefused {
		t.Errorf("got %v", resp)
	}
	if got := u.Unexpected(); len(got) != 1 || got[0].Name != "www.example.org." {
		t.Errorf("got %v", got)
	}
	u.Handle("*", dns.TypeNone, resolvertest.Reply{Rcode: dns.RcodeServerFailure})
	if resp := ask(t, u, "udp", "www.example.org.", dns.TypeA); resp.Rcode != dns.RcodeServerFailure {
		t.Errorf("got %v", resp)
	}
	if got := u.Unexpected(); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

func TestUpstreamTruncates(t *testing.T) {
	text := "big.example.org TXT\n" +
		strings.Repeat("    answer big.example.org. 300 IN TXT \""+strings.Repeat("x", 200)+"\"\n", 10)
	u := startUpstream(t, text)
	if resp := ask(t, u, "udp", "big.example.org.", dns.TypeTXT); !resp.Truncated {
		t.Errorf("got %v", resp)
	}
	if resp := ask(t, u, "tcp", "big.example.org.", dns.TypeTXT); resp.Truncated || len(resp.Answer) != 10 {
		t.Errorf("got %v", resp)
	}
}

func TestUpstreamDown(t *testing.T) {
	u := startUpstream(t, "* *")
	u.SetDown(true)
	c := &dns.Client{Timeout: 50 * time.Millisecond}
	if resp, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeA), u.Addr().String()); err == nil {
		t.Errorf("got %v", resp)
	}
	u.SetDown(false)
	if resp := ask(t, u, "udp", "example.org.", dns.TypeA); resp.Rcode != dns.RcodeSuccess {
		t.Errorf("got %v", resp)
	}
	if n := len(u.Queries()); n != 2 {
		t.Errorf("%d questions", n)
	}
}

func TestUpstreamHolds(t *testing.T) {
	u := startUpstream(t, "* *")
	u.Hold()
	answered := make(chan *dns.Msg)
	go func() {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeA), u.Addr().String())
		if err != nil {
			t.Error(err)
		}
		answered <- m
	}()
	for len(u.Queries()) == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case m := <-answered:
		t.Errorf("got %v while held", m)
	case <-time.After(20 * time.Millisecond):
	}
	u.Release()
	if m := <-answered; m == nil || m.Rcode != dns.RcodeSuccess {
		t.Errorf("got %v", m)
	}
}

func TestUpstreamLoadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"www.example.org":                  "line 1: a question is",
		"\nwww.example.org B":              `line 2: unknown type "B"`,
		"www.example.org A bogus":          `line 1: unknown option "bogus"`,
		"www.example.org A times=x":        "line 1: times=x",
		"* *\n    answer x":                "line 2: ",
		"* *\n    answer":                  "line 2: no record",
		"* *\n    anser x. 1 IN A 1.1.1.1": `line 2: unknown word "anser"`,
		"* *\n    ede x":                   "line 2: ",
		"* *\n    option 1 0":              "line 2: ",
		"    answer x. 1 IN A 1.1.1.1":     "line 1: indented",
	} {
		u := new(resolvertest.Upstream)
		if err := u.Load(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}
